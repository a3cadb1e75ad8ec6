"""How many images a step shows, and how many steps a length in images takes."""

from src.params import Train


def images_per_step(train: Train) -> int:
    """Real images a step shows: one batch for each update of the discriminator."""
    return train.batch_size * train.critic_steps


def steps_for(train: Train, kimg: float) -> int:
    """The number of steps, at least 1, in which about ``kimg`` thousand real images are shown."""
    return max(1, round(kimg * 1000 / images_per_step(train)))
