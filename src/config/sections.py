"""The parameters of the pipeline, one field each. To add one, add its field and run ``python -m src.params --write``."""

from functools import partial
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from .fields import Section, parameter

Fraction = Annotated[float, Field(ge=0, lt=1)]
LearningRate = Annotated[float, Field(gt=0, le=1)]
Penalty = Annotated[float, Field(ge=0, le=1e4)]
Kimg = Annotated[float, Field(gt=0, le=1e9)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
BatchSize = Annotated[int, Field(ge=2, le=65536)]
HiddenSizes = Annotated[list[Annotated[int, Field(ge=1, le=65536)]], Field(min_length=1, max_length=16)]
Augmentations = Annotated[list[Literal["translation", "cutout", "flip"]], Field(max_length=3)]

FAMILIES = ("mlp", "dcgan", "compact", "resnet", "progressive")
"""The short names of ``model.family``; :mod:`src.networks.family` has the class of each."""
NO_SCORE = "it changes no score"

own = partial(parameter, when=["data.dataset=folder"])
objective = partial(parameter, group="Length and loss")
optimiser = partial(parameter, group="Optimiser")
penalty = partial(parameter, group="Penalties")
regularisation = partial(parameter, group="Regularisation")
execution = partial(parameter, group="Execution")


class Data(Section):
    """The dataset and its splits."""

    dataset: Literal["fashion-mnist", "mnist", "kmnist", "cifar10", "digits", "folder"] = parameter(
        "fashion-mnist", "folder: your own images"
    )
    folder: str = parameter("data/own", "your own images, or a dataset's files if no mirror answers", min_length=1)
    image_size: int = own(32, "images are cropped to squares and resized to this", ge=8, le=256)
    channels: Literal[1, 3] = own(3, "grayscale or RGB")
    clusters: int = own(10, "k-means classes of images that are not in class folders", ge=2, le=1000)
    validation_fraction: float = parameter(0.16667, "share of the training images that is held out", gt=0, le=0.5)
    test_fraction: float = parameter(0.2, "share for testing if there is no official test split", gt=0, le=0.5)
    split_seed: Seed = parameter(0, "seed of the split")


class Classifier(Section):
    """The judge: the auxiliary classifier that scores the generated images."""

    width: int = parameter(32, "channels of the first convolution", ge=4, le=512)
    feature_size: int = parameter(128, "size of the feature vector before the last layer", ge=8, le=2048)
    dropout: Fraction = parameter(0.3, "dropout of the feature vector")
    epochs: int = parameter(4, "passes over the training images", ge=1, le=1000)
    batch_size: BatchSize = parameter(128, "images per step")
    lr: LearningRate = parameter(6e-3, "peak of the one-cycle learning rate")
    weight_decay: float = parameter(1e-2, "weight decay of AdamW", ge=0, le=1)
    seed: Seed = parameter(0, "seed of the weights and batches")


class Model(Section):
    """The generator and the discriminator."""

    searchable: ClassVar[bool] = True

    family: str = parameter(
        "compact",
        "of both networks",
        words=f"{' | '.join(FAMILIES)} | the dotted path of a class",
        pattern=rf"^({'|'.join(FAMILIES)}|[A-Za-z_]\w*(\.[A-Za-z_]\w*)+)$",
    )
    conditioning: Literal["none", "concat", "embedding", "projection", "auxiliary", "batch_norm"] = parameter(
        "projection", "how the label is used"
    )
    latent_size: int = parameter(64, "dimension of the latent vector z", ge=1, le=4096)
    hidden_sizes: HiddenSizes = parameter(
        [256, 512, 1024], "mlp: hidden layers of the generator, reversed in the discriminator"
    )
    width: int = parameter(48, "all but mlp: channels at a quarter of the image size", ge=4, le=2048)
    dropout: Fraction = parameter(0.0, "dropout in the discriminator")
    spectral_norm: bool = parameter(False, "spectral normalisation of the discriminator's weights")


class Train(Section):
    """How the GAN is trained."""

    searchable: ClassVar[bool] = True

    device: Literal["auto", "cpu", "cuda"] = parameter(
        "auto", "auto uses a GPU if there is one", fixed="it is the same for all trials"
    )
    kimg: Kimg = objective(320, "thousands of real images shown in a run", fixed="the length of a trial is tune.kimg")
    batch_size: BatchSize = objective(64, "real images per step")
    loss: Literal["bce", "least_squares", "hinge", "wasserstein", "relativistic"] = objective("bce", "on logits")
    critic_steps: int = objective(1, "discriminator steps per generator step", ge=1, le=100)
    auxiliary_weight: float = objective(
        1.0, "weight of the class cross-entropy", when=["model.conditioning=auxiliary"], gt=0, le=100
    )
    label_smoothing: float = objective(
        0.0, "the target of real images is 1 minus this", when=["train.loss=bce|least_squares"], ge=0, lt=0.5
    )
    grow_until: float = objective(
        0.5, "share of the run until the full size is reached", when=["model.family=progressive"], gt=0, le=1
    )
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"] = optimiser("adam", "of both networks")
    lr_generator: LearningRate = optimiser(4e-3, "learning rate of the generator")
    lr_discriminator: LearningRate = optimiser(2e-3, "learning rate of the discriminator")
    beta1: Fraction = optimiser(0.0, "decay of the mean of gradients; momentum of sgd and rmsprop")
    beta2: Fraction = optimiser(0.99, "decay of the mean of squares", when=["train.optimizer=adam|adamw|rmsprop"])
    lr_schedule: Literal["linear", "cosine"] = optimiser("linear", "how the learning rates fall to zero")
    lr_decay_from: float = optimiser(0.25, "share of the run after which the rates fall; 1: never", ge=0, le=1)
    lr_warmup: Fraction = optimiser(0.0, "share of the run in which the rates rise from zero")
    gp_weight: Penalty = penalty(0.0, "gradient penalty of WGAN-GP, between real and fake images; 0: off")
    r1_weight: Penalty = penalty(0.6, "R1 gradient penalty, on real images; 0: off")
    r2_weight: Penalty = penalty(0.0, "R2 gradient penalty, on fake images; 0: off")
    penalty_interval: int = penalty(
        8,
        "steps between gradient penalties",
        when=["train.gp_weight", "train.r1_weight", "train.r2_weight"],
        ge=1,
        le=1000,
    )
    mirror: float = regularisation(0.0, "share of the real images that are flipped horizontally", ge=0, le=0.5)
    augment: Augmentations = regularisation([], "differentiable, of real and fake images")
    augment_probability: float = regularisation(
        1.0, "probability of each augmentation", when=["train.augment"], gt=0, le=1
    )
    augment_target: Fraction = regularisation(
        0.0, "adaptive probability: overfitting to aim for, such as 0.6; 0: fixed", when=["train.augment"]
    )
    augment_kimg: float = regularisation(
        50, "adaptive probability: thousands of images from 0 to 1", when=["train.augment_target"], gt=0, le=1e6
    )
    weight_decay: float = regularisation(0.0, "L2 penalty of both networks; decoupled for adamw", ge=0, le=1)
    l1: float = regularisation(0.0, "L1 penalty of both networks", ge=0, le=1)
    ema_decay: Fraction = regularisation(0.998, "decay per step of the averaged generator; 0: no averaging")
    seed: Seed = execution(0, "seed of weights, batches and latents", fixed="the search would pick luck")
    precision: Literal["auto", "float32", "bfloat16"] = execution("auto", "of matrix products; auto: bfloat16 on a GPU")
    compile: Literal["auto", "none", "graph"] = execution(
        "auto", "graph replays a captured step on a GPU, as auto does there", fixed=NO_SCORE
    )
    deterministic: bool = execution(False, "on a GPU: only kernels that give the same bits each time", fixed=NO_SCORE)
    log_every_kimg: Kimg = parameter(10, "interval of logged losses", fixed=NO_SCORE)
    score_every_kimg: Kimg = parameter(
        40,
        "interval of validation scores and sample grids, in whole logging intervals",
        fixed="a trial's scores are taken every tune.score_every_kimg",
    )
    score_samples: int = parameter(
        5000,
        "images per validation score",
        fixed="scores of different sample counts cannot be compared",
        ge=10,
        le=10**6,
    )
    checkpoint_minutes: float = parameter(5, "interval of checkpoints", fixed=NO_SCORE, decides=False, gt=0, le=1e6)
    max_rollbacks: int = parameter(
        3,
        "how often a diverged run returns to its last score with halved learning rates",
        fixed="a trial that diverges is pruned",
        decides=False,
        ge=0,
        le=100,
    )
    patience: int = parameter(0, "scores without improvement before early stopping; 0: never", ge=0, le=10_000)


class Evaluate(Section):
    """The scorecard on the test split."""

    samples: int = parameter(10_000, "generated images, and at most as many real ones", ge=10, le=1_000_000)
    nearest_k: int = parameter(5, "neighbours for precision, recall, density and coverage", ge=1, le=100)
    seed: int = parameter(1, "seed of latents and bootstrap resamples", ge=0, lt=2**31)
    resamples: int = parameter(200, "bootstrap resamples behind each 95 % interval", ge=20, le=10_000)
    gan_train: bool = parameter(True, "GAN-train accuracy (CAS), which trains three classifiers")
    reconstructions: int = parameter(
        100, "test images to reconstruct by a search of the latent space; 0: off", ge=0, le=100_000
    )
    inception_weights: str | None = parameter(
        None, "path of weights-inception-2015-12-05-6726825d.pth for FID, KID and IS; null: off"
    )
    imagenet: bool = parameter(False, "scores by a second judge, trained on ImageNet; needs the imagenet extra")


class Register(Section):
    """The model registry."""

    model_name: str = parameter(
        "gan-fashion-mnist", "name of the registered model", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"
    )
    max_class_drop: float = parameter(0.05, "largest drop in label agreement allowed for any class", ge=0, le=1)
    allow_dirty: bool = parameter(False, "whether a generator trained with uncommitted code may become champion")
