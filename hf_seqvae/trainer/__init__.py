"""SeqVAETrainer: fine-tuning with the Trainer API, under the Objective of the engine's loop."""

from hf_seqvae.trainer.trainer import SeqVAETrainer

__all__ = ["SeqVAETrainer"]
