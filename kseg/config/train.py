"""The settings of a training run: what data, model, optimizer and run need, together in one flat list."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from kseg.config.base import MAY_CHANGE, PLACE, Settings, refuse_long_names
from kseg.config.data import TaskOptions, UnreadableOptions
from kseg.interval import Interval

EncoderName = Literal[
    "mobilenetv3_small",
    "mobilenetv3_large",
    "efficientnetv2_b0",
    "efficientnetv2_b1",
    "efficientnetv2_b2",
    "efficientnetv2_b3",
    "efficientnetv2_s",
    "resnet50v2",
    "convnext_tiny",
]


class DataOptions(UnreadableOptions, TaskOptions):
    """What a run trains and validates on, and how it becomes batches."""

    image_size: int | tuple[int, int] = Field(
        128, description="Side, or height and width, that images are resized to: pixels, multiples of 8."
    )
    resize: Literal["stretch", "pad", "crop"] = Field(
        "stretch",
        description="How images are fitted: stretch distorts; pad keeps the ratio, padding is ignored; crop cuts the "
        "excess.",
    )
    cache: Literal["auto", "memory", "disk", "none"] = Field(
        "auto",
        json_schema_extra=MAY_CHANGE,
        description="Where decoded images are kept. disk: in a temporary file in TMPDIR; none: they are decoded in "
        "every epoch; auto: memory if they need at most half of the free memory, else none.",
    )
    augment: Literal["none", "light", "medium", "heavy"] = Field(
        "light",
        json_schema_extra=MAY_CHANGE,
        description="How much training images are changed. light: mirror, turns, crop, brightness, contrast; medium: "
        "also rotation, shear, gamma, hue, noise, blur; heavy: also JPEG, holes, mosaics. kseg audit --show-augment "
        "draws them.",
    )
    foreground_crops: float = Field(
        0.0,
        ge=0,
        le=1,
        json_schema_extra=MAY_CHANGE,
        description="Share of each batch that is cropped around a random foreground pixel, for rare foreground.",
    )
    dev_mode: bool = Field(False, description="Take only the first images: an answer in seconds to minutes.")
    dev_samples: int = Field(
        100, ge=2, description="Training images in dev mode, and at most that many validation images."
    )
    batch_size: int = Field(4, ge=1, description="Images in a step.")
    steps_per_execution: int = Field(1, ge=1, description="Steps in one call of the compiled function; JAX only.")

    @property
    def image_shape(self) -> tuple[int, int]:
        """Height and width, in pixels."""
        return (self.image_size, self.image_size) if isinstance(self.image_size, int) else self.image_size


class ModelOptions(Settings):
    """The network, and what it is compiled with."""

    model: Literal["unet", "fpn", "deeplabv3plus", "mlp"] = Field(
        "unet",
        description="The decoder: U-Net, feature pyramid, DeepLabV3+, or SegFormer's. All but unet need an --encoder.",
    )
    encoder: Literal["none"] | EncoderName = Field(
        "none", description="The network that finds features; none: the small U-Net of --filters. See kseg models."
    )
    encoder_weights: str = Field(
        "none",
        description="none: random; imagenet: downloaded by Keras; or a .weights.h5 file of the encoder. With weights "
        "its BatchNorm keeps their statistics.",
    )
    start_from: Path | None = Field(
        None,
        json_schema_extra=PLACE,
        description="A .keras file whose weights to start with where they fit; classes and channels may differ.",
    )
    filters: int = Field(
        16,
        ge=8,
        multiple_of=8,
        description="U-Net filters at full resolution, a multiple of 8; doubled at each of 3 levels.",
    )
    mixed_precision: bool = Field(False, description="Compute in bfloat16, keep weights and logits in float32.")
    loss: Literal["bce", "combined", "cross_entropy", "dice", "focal", "iou", "lovasz", "tversky"] = Field(
        "combined",
        json_schema_extra=MAY_CHANGE,
        description="What to minimise; combined is cross-entropy, Dice and focal together.",
    )
    class_weight: Literal["none", "balanced"] | tuple[Annotated[float, Field(ge=0)], ...] = Field(
        "none",
        json_schema_extra=MAY_CHANGE,
        description="Weights of the classes in the loss, background first. balanced: the smaller the share of a class "
        "in the training masks, the larger its weight: 1 / square root of the share.",
    )
    loss_arguments: dict[str, float] = Field(
        default_factory=dict,
        json_schema_extra=MAY_CHANGE,
        description="Arguments of the loss by name, such as alpha 0.3 beta 0.7.",
    )
    threshold: Annotated[float, Field(gt=0, lt=1)] | Literal["auto"] = Field(
        0.5,
        description="A pixel is predicted foreground if its probability is above this. auto: the best model is the one "
        "with the best F1 over all thresholds, and keeps that threshold. Of several classes the most probable one is "
        "predicted, and only 0.5 is allowed.",
    )
    output_bias: Literal["auto", "zero", "prior"] = Field(
        "auto",
        json_schema_extra=MAY_CHANGE,
        description="Initial bias of the logits. prior: the share of foreground in the masks; auto: prior if that "
        "share is below 2%, else zero.",
    )

    @property
    def size_multiple(self) -> int:
        """Height and width of the images are multiples of this: the small U-Net halves them three times."""
        return 8 if self.encoder == "none" else 32

    @property
    def fixed_threshold(self) -> float:
        """The threshold of the metrics: the one that was set, or 0.5 if the best one is looked for."""
        return 0.5 if self.threshold == "auto" else self.threshold

    @property
    def least_step_bytes(self) -> int:
        """No step needs less for the weights: float32 weights, gradients and two moments of AdamW, at four levels.

        Of the small U-Net; 0 of other models.
        """
        return 0 if self.encoder != "none" else 4 * 4 * 1700 * self.filters**2

    @property
    def least_bytes(self) -> int:
        """No file of this model is smaller: its widest convolutions have 3 x 3 x filters x filters float32 weights.

        Of the small U-Net; 0 of other models.
        """
        return 0 if self.encoder != "none" else 9 * self.filters**2 * 4


class OptimizerOptions(Settings):
    """How long to train, and how fast the weights move."""

    epochs: int = Field(
        50, ge=1, json_schema_extra=MAY_CHANGE, description="Epochs in all, including those before a checkpoint."
    )
    lr: float = Field(
        3e-3,
        gt=0,
        json_schema_extra=MAY_CHANGE,
        description="Peak learning rate of AdamW, reached after the warm-up.",
    )
    warmup: float = Field(
        0.05,
        ge=0,
        lt=1,
        json_schema_extra=MAY_CHANGE,
        description="Share of all steps in which the learning rate rises from 0.",
    )
    weight_decay: float = Field(
        1e-4,
        ge=0,
        json_schema_extra=MAY_CHANGE,
        description="Weight decay of AdamW, relative to the learning rate.",
    )
    clip_norm: float = Field(
        1.0,
        gt=0,
        json_schema_extra=MAY_CHANGE,
        description="Largest norm of all gradients together; larger gradients are scaled down.",
    )


class RunOptions(Settings):
    """When a run looks for collapse, when it writes checkpoints, and where."""

    collapse_every: int = Field(
        50, ge=1, json_schema_extra=MAY_CHANGE, description="Batches between two checks for collapse."
    )
    on_collapse: Literal["warn", "stop", "recover"] = Field(
        "recover",
        json_schema_extra=MAY_CHANGE,
        description="What to do when a run fails: warn, stop, or go back and lower the learning rate.",
    )
    max_recoveries: int = Field(
        3, ge=0, json_schema_extra=MAY_CHANGE, description="How often to go back before the run is stopped."
    )
    checkpoint_every: str = Field(
        "auto",
        json_schema_extra=MAY_CHANGE,
        description="How much work a kill may cost: auto (about a minute, more if writing takes over 2% of the time), "
        "or '200 batches', '30 s', '5 minutes', '1 epoch'.",
    )
    keep: int = Field(
        2,
        ge=1,
        json_schema_extra=MAY_CHANGE,
        description="Number of checkpoints to keep; if the newest is damaged, the one before it is used.",
    )
    track: tuple[Literal["tensorboard", "mlflow", "wandb"], ...] = Field(
        (),
        json_schema_extra=MAY_CHANGE,
        description="Also write the run for these, into its folder; nothing is sent anywhere (wandb: unless WANDB_MODE "
        "says so).",
    )
    run_dir: Path | None = Field(
        None,
        json_schema_extra=PLACE,
        description="Folder of the run; None: runs/<dataset>-<time>, or the folder of --checkpoint.",
    )

    @field_validator("run_dir")
    @classmethod
    def _run_dir_is_not_too_long(cls, place: Path | None) -> Path | None:
        return refuse_long_names(place)

    @field_validator("checkpoint_every")
    @classmethod
    def _is_an_interval(cls, text: str) -> str:
        try:
            Interval.parse(text)
        except ValueError as error:
            raise ValueError(f"checkpoint_every: {error}") from None
        return text


class TrainConfig(RunOptions, OptimizerOptions, ModelOptions, DataOptions):
    """The settings of a training run."""

    @model_validator(mode="after")
    def _encoder_fits_the_model(self) -> Self:
        if self.encoder == "none" and self.model != "unet":
            raise ValueError(
                f"encoder: none is not allowed for model {self.model}; expected one that kseg models lists."
            )
        if self.encoder == "none" and self.encoder_weights != "none":
            raise ValueError(f"encoder_weights: {self.encoder_weights} is not allowed without an encoder.")
        return self

    @model_validator(mode="after")
    def _image_size_fits_the_model(self) -> Self:
        multiple = self.size_multiple
        for side in self.image_shape:
            if side < multiple or side % multiple:
                below = max(side // multiple, 1) * multiple
                raise ValueError(
                    f"image_size: {side} is not a multiple of {multiple}; near it are {below} and {below + multiple}"
                )
        return self
