"""The settings of a training run: what data, model, optimizer and run need, together in one flat list."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

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


def is_preset(encoder: str) -> bool:
    """Return whether an encoder is a preset of KerasHub: a download, or a folder.

    >>> is_preset("hf://keras/resnet_18_imagenet"), is_preset("./folder"), is_preset("resnet50v2")
    (True, True, False)
    """
    return "/" in encoder


DECODER_NAMES = ("unet", "fpn", "deeplabv3plus", "mlp")

_IMPORT_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


def is_own_model(model: str) -> bool:
    """Return whether a model is the user's: a .keras file, or code by its import path.

    >>> is_own_model("networks.small:make"), is_own_model("net.keras"), is_own_model("unet")
    (True, True, False)
    """
    return model.endswith(".keras") or is_code(model)


def is_code(model: str) -> bool:
    """Return whether a model is code, `package.module:function`."""
    return bool(_IMPORT_PATH.fullmatch(model))


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

    model: str = Field(
        "unet",
        description="The decoder: unet, fpn (feature pyramid), deeplabv3plus or mlp (SegFormer's), all but unet with "
        "an --encoder; or your own: a .keras file, or package.module:function, which is code and is run.",
    )
    model_arguments: dict[str, float] = Field(
        default_factory=dict, description="Arguments of a model of your own by name, such as width 32."
    )
    encoder: Literal["none"] | EncoderName | str = Field(
        "none",
        description="The network that finds features; none: the small U-Net of --filters; or a preset of KerasHub: "
        "hf://…, kaggle://… or a folder with a / in its name. See kseg models.",
    )
    encoder_weights: str = Field(
        "none",
        description="none: random; imagenet: downloaded by Keras; preset: those of a preset of KerasHub; or a "
        ".weights.h5 file of the encoder. With weights its BatchNorm keeps their statistics.",
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
    mixed_precision: Literal["none", "bfloat16", "float16"] = Field(
        "none",
        description="Compute in this dtype, keep weights and logits in float32. float16 scales the loss.",
    )
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

    @field_validator("model")
    @classmethod
    def _is_a_model(cls, model: str) -> str:
        if model not in DECODER_NAMES and not is_own_model(model):
            raise ValueError(
                f"model: {model!r:.80} is not allowed; expected {', '.join(DECODER_NAMES)}, a .keras file, or "
                "package.module:function."
            )
        return model

    @property
    def size_multiple(self) -> int:
        """Height and width of the images are multiples of this: the small U-Net halves them three times.

        1 for a model of the user's own, which checks its input itself.
        """
        if is_own_model(self.model):
            return 1
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
        return 4 * 4 * 1700 * self.filters**2 if self._is_small_unet else 0

    @property
    def least_pixel_bytes(self) -> int:
        """No step needs less for each pixel of its images.

        Of the small U-Net the output of a layer at full resolution, and its gradient; of other models three scaled
        channels, the logit and its gradient; in float32.
        """
        return 2 * 4 * self.filters if self._is_small_unet else (3 + 2) * 4

    @property
    def least_bytes(self) -> int:
        """No file of this model is smaller: its widest convolutions have 3 x 3 x filters x filters float32 weights.

        Of the small U-Net; 0 of other models.
        """
        return 9 * self.filters**2 * 4 if self._is_small_unet else 0

    @property
    def _is_small_unet(self) -> bool:
        return self.encoder == "none" and not is_own_model(self.model)


class OptimizerOptions(Settings):
    """How long to train, and how fast the weights move."""

    epochs: int = Field(
        50, ge=1, json_schema_extra=MAY_CHANGE, description="Epochs in all, including those before a checkpoint."
    )
    optimizer: Literal["adamw", "sgd", "lion", "muon"] = Field(
        "adamw",
        description="How gradients become steps, as Keras has them; sgd has Nesterov momentum 0.9; muon moves "
        "matrices, and convolutions as adamw does.",
    )
    schedule: Literal["cosine", "constant", "plateau"] = Field(
        "cosine",
        description="The learning rate after the warm-up. cosine: falls to 0 at the last step; constant: stays; "
        "plateau: no warm-up, and a third of it after 5 epochs without a better validation score.",
    )
    lr: float = Field(
        3e-3,
        gt=0,
        json_schema_extra=MAY_CHANGE,
        description="Peak learning rate, reached after the warm-up. The default suits adamw; see kseg lr-find.",
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
        description="Weight decay, relative to the learning rate.",
    )
    clip_norm: float = Field(
        1.0,
        gt=0,
        json_schema_extra=MAY_CHANGE,
        description="Largest norm of all gradients together; larger gradients are scaled down.",
    )
    accumulate: int = Field(
        1, ge=1, description="Steps whose gradients are averaged before the weights move, as for a larger batch."
    )
    ema: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Decay of a moving average of the weights, which is validated and kept as best.keras; such as "
        "0.99, 0: none.",
    )
    freeze: int = Field(
        0, ge=0, description="Epochs in which the encoder keeps its weights, before all are trained together."
    )
    encoder_lr: float = Field(
        1.0, gt=0, le=1, description="Learning rate of the encoder relative to that of the rest, such as 0.1."
    )
    early_stopping: int = Field(
        0,
        ge=0,
        json_schema_extra=MAY_CHANGE,
        description="Stop after so many epochs without a better validation score; 0: never.",
    )


def _in_words_of_today(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings of an older run, where mixed precision was on or off, as they are written today."""
    former = settings.get("mixed_precision")
    names = {True: "bfloat16", False: "none"}
    return settings | ({"mixed_precision": names[former]} if isinstance(former, bool) else {})


class FitOptions(OptimizerOptions, ModelOptions, DataOptions):
    """What a fit needs: data, model and optimizer, that fit each other."""

    @model_validator(mode="before")
    @classmethod
    def _may_be_of_an_older_run(cls, values: dict[str, Any]) -> dict[str, Any]:
        return _in_words_of_today(values)

    @model_validator(mode="after")
    def _own_model_has_no_encoder(self) -> Self:
        if is_own_model(self.model) and self.encoder != "none":
            raise ValueError(f"encoder: {self.encoder} is not allowed for a model of your own, {self.model}.")
        if self.model_arguments and not is_code(self.model):
            raise ValueError(f"model_arguments: they are for package.module:function, not for model {self.model}.")
        return self

    @field_validator("encoder")
    @classmethod
    def _encoder_is_known(cls, encoder: str) -> str:
        names = ("none", *get_args(EncoderName))
        if encoder not in names and not is_preset(encoder):
            raise ValueError(
                f"encoder: {encoder!r:.80} is not allowed; expected {', '.join(names)}, or a preset of KerasHub, "
                "such as hf://keras/resnet_18_imagenet or ./folder."
            )
        return encoder

    @model_validator(mode="after")
    def _weights_fit_the_encoder(self) -> Self:
        given = self.encoder_weights
        if is_preset(self.encoder) and given in ("none", "imagenet"):
            raise ValueError(
                f"encoder_weights: {given} is not allowed for a preset of KerasHub; expected preset, for the weights "
                "that it brings, or a .weights.h5 file."
            )
        if not is_preset(self.encoder) and given == "preset":
            raise ValueError(
                f"encoder_weights: preset is not allowed for the encoder {self.encoder}; expected none, imagenet or a "
                ".weights.h5 file."
            )
        return self

    @model_validator(mode="after")
    def _encoder_fits_the_model(self) -> Self:
        if self.encoder == "none" and self.model in DECODER_NAMES and self.model != "unet":
            raise ValueError(
                f"encoder: none is not allowed for model {self.model}; expected one that kseg models lists."
            )
        if self.encoder == "none" and self.encoder_weights != "none":
            raise ValueError(f"encoder_weights: {self.encoder_weights} is not allowed without an encoder.")
        if self.encoder == "none" and (self.freeze or self.encoder_lr != 1):
            raise ValueError("freeze and encoder_lr are for a model with an --encoder.")
        if self.freeze and self.encoder_weights == "none" and self.start_from is None:
            raise ValueError("freeze: random weights would stay random; give --encoder-weights or --start-from.")
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


class RunOptions(Settings):
    """On what a run trains, when it looks for collapse, when it writes checkpoints, and where."""

    devices: Annotated[int, Field(ge=1)] | Literal["all"] = Field(
        1,
        json_schema_extra=MAY_CHANGE,
        description="Devices of this machine that share every batch, whose size must divide by their number; several "
        "processes use all of theirs. JAX only.",
    )
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


class TrainConfig(RunOptions, FitOptions):
    """The settings of a training run."""

    def changes(self, before: dict[str, Any]) -> list[str]:
        """See `Settings.changes`; the checkpoint may be of an older run."""
        return super().changes(_in_words_of_today(before))
