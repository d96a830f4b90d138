"""Figures that real trainings wrote into log.jsonl, for the tests of the early warning.

Numbers alone: step, beta, eval/kl, eval/mutual_information, eval/active_units,
eval/reconstruction_nll of each validation. `warned_at`: the step of the one warning, or None.
"""

RECORDED = {
    # max pooling without free bits on real text: it holds a KL above 2 until beta nears 1, and then
    # loses it. hf-seqvae train training/recipes/tatoeba_lstm_cpu.yaml, the files of tatoeba_en
    "tatoeba_max": {
        "num_sentences": 5000,
        "latent_size": 32,
        "warned_at": 2345,
        "validations": [
            (469, 0.28, 2.595, 1.664, 32, 32.84),
            (938, 0.46, 2.797, 2.295, 32, 29.98),
            (1407, 0.64, 2.316, 2.085, 31, 28.82),
            (1876, 0.82, 1.642, 1.532, 21, 28.63),
            (2345, 1.0, 1.138, 1.067, 15, 28.67),
            (2814, 1.0, 0.858, 0.810, 8, 28.80),
            (3283, 1.0, 0.725, 0.691, 6, 28.48),
            (3752, 1.0, 0.642, 0.613, 4, 28.40),
            (4221, 1.0, 0.598, 0.568, 4, 28.26),
            (4690, 1.0, 0.575, 0.548, 2, 28.28),
            (5159, 1.0, 0.514, 0.490, 2, 28.30),
            (5628, 1.0, 0.478, 0.451, 2, 28.35),
        ],
    },
    # the same with --set model.pooling=last: it never held much
    "tatoeba_last": {
        "num_sentences": 5000,
        "latent_size": 32,
        "warned_at": 2345,
        "validations": [
            (469, 0.28, 1.157, 0.752, 27, 33.55),
            (938, 0.46, 1.232, 0.994, 22, 31.04),
            (1407, 0.64, 1.436, 1.331, 4, 29.40),
            (1876, 0.82, 1.221, 1.157, 2, 28.91),
            (2345, 1.0, 0.923, 0.882, 2, 28.84),
            (2814, 1.0, 0.763, 0.730, 2, 28.86),
            (3283, 1.0, 0.665, 0.635, 2, 28.53),
            (3752, 1.0, 0.626, 0.597, 2, 28.39),
            (4221, 1.0, 0.537, 0.508, 2, 28.34),
            (4690, 1.0, 0.520, 0.493, 2, 28.40),
            (5159, 1.0, 0.477, 0.447, 2, 28.37),
            (5628, 1.0, 0.427, 0.398, 2, 28.43),
        ],
    },
    # the same with free bits (--set objective.kl_term=free_bits_per_dimension_hinge
    # --set objective.free_bits=0.1): the KL falls as beta rises, and stays (8 epochs of 12)
    "tatoeba_free_bits": {
        "num_sentences": 5000,
        "latent_size": 32,
        "warned_at": None,
        "validations": [
            (469, 0.28, 4.982, 3.071, 32, 31.85),
            (938, 0.46, 4.996, 3.465, 32, 29.09),
            (1407, 0.64, 4.353, 3.180, 32, 27.93),
            (1876, 0.82, 3.642, 2.732, 32, 27.68),
            (2345, 1.0, 3.330, 2.517, 32, 27.47),
            (2814, 1.0, 3.277, 2.504, 32, 27.33),
            (3283, 1.0, 3.210, 2.453, 32, 26.96),
            (3752, 1.0, 3.258, 2.500, 32, 26.72),
        ],
    },
    # hf-seqvae train
    "quickstart": {
        "num_sentences": 2000,
        "latent_size": 16,
        "warned_at": None,
        "validations": [
            (625, 0.499, 7.335, 5.256, 16, 13.03),
            (1250, 0.999, 5.166, 4.220, 16, 13.26),
            (1875, 1.0, 4.988, 4.183, 16, 12.99),
            (2500, 1.0, 4.838, 4.138, 16, 12.99),
            (3125, 1.0, 4.941, 4.259, 16, 12.72),
            (3750, 1.0, 4.799, 4.174, 16, 12.83),
        ],
    },
    # hf-seqvae train --set objective.kl_term=plain --set objective.free_bits=0
    "quickstart_without_free_bits": {
        "num_sentences": 2000,
        "latent_size": 16,
        "warned_at": 3750,
        "validations": [
            (625, 0.499, 6.074, 5.081, 16, 13.33),
            (1250, 0.999, 2.767, 2.702, 14, 14.65),
            (1875, 1.0, 1.605, 1.589, 11, 15.46),
            (2500, 1.0, 1.317, 1.295, 12, 15.78),
            (3125, 1.0, 1.074, 1.054, 10, 15.86),
            (3750, 1.0, 0.885, 0.870, 10, 16.02),
        ],
    },
    # hf-seqvae train --set 'objective.beta={schedule: constant, value: 1.0}'
    "quickstart_without_annealing": {
        "num_sentences": 2000,
        "latent_size": 16,
        "warned_at": None,
        "validations": [
            (625, 1.0, 3.763, 2.601, 16, 15.59),
            (1250, 1.0, 3.937, 2.899, 16, 14.38),
            (1875, 1.0, 4.023, 2.988, 16, 14.03),
            (2500, 1.0, 4.039, 3.062, 16, 14.01),
            (3125, 1.0, 4.053, 3.094, 16, 13.84),
            (3750, 1.0, 4.030, 3.087, 16, 13.83),
        ],
    },
    # hf-seqvae train --set model.pooling=last
    "quickstart_last_state": {
        "num_sentences": 2000,
        "latent_size": 16,
        "warned_at": None,
        "validations": [
            (625, 0.499, 3.788, 1.878, 16, 16.29),
            (1250, 0.999, 3.884, 2.057, 16, 15.22),
            (1875, 1.0, 3.885, 2.083, 16, 14.91),
            (2500, 1.0, 3.859, 2.191, 16, 14.92),
            (3125, 1.0, 3.931, 2.275, 16, 14.69),
            (3750, 1.0, 3.923, 2.297, 16, 14.68),
        ],
    },
}
