"""The scenarios of `benchmarks/collapse.py`: data, sabotage, models, and the list."""

import kseg  # isort: skip  (before keras: makes JAX the default)

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import cv2
import keras
import numpy as np
from keras import layers

SIZE = 64
TRAINING, VALIDATION = 80, 40
EPOCHS = 10


class Data(NamedTuple):
    """Images `(N, 64, 64, 3)` and masks `(N, 64, 64, 1)` for training and validation."""

    images: np.ndarray
    masks: np.ndarray
    val_images: np.ndarray
    val_masks: np.ndarray


@dataclass(frozen=True)
class Scenario:
    """One run and the expected finding."""

    name: str
    expected: str | None = None
    """The cause; None for a healthy run; `a or b` where several causes are right."""
    effect_epoch: int = 1
    """Epoch in which the sabotage takes effect; the cause is expected by the end of the next one, or of `within`."""
    within: int | None = None
    """The epoch by whose end the cause is expected, where the detector needs several looks."""
    data: Callable[..., Data] = field(default_factory=lambda: shapes)
    sabotage: Callable[[Data], Data] | None = None
    late_sabotage: Callable[[Data], Data] | None = None
    """What happens to the training data at the begin of `effect_epoch`."""
    model: Callable[[], keras.Model] = field(default_factory=lambda: small_unet)
    loss: Any = "combined"
    optimizer: Callable[[float], keras.optimizers.Optimizer] | None = None
    lr: float = 3e-3
    batch_size: int = 4
    epochs: int = EPOCHS
    seed: int = 0
    compile: dict[str, Any] = field(default_factory=dict)
    twin: dict[str, Any] | None = None
    """The changes that make the run healthy; None where a run cannot recover."""


# Data


@functools.cache
def _draw(count: int, seed: int, difficulty: tuple) -> tuple[np.ndarray, np.ndarray]:
    from kseg.data.sources.shapes import Difficulty, draw_example

    pairs = [draw_example(Difficulty(*difficulty), (seed, index)) for index in range(count)]
    images, masks = map(np.stack, zip(*pairs, strict=True))
    return images[:, ::2, ::2], masks[:, ::2, ::2]


def shapes(
    seed: int = 0,
    empty: float = 0.2,
    count: tuple[int, int] = (1, 5),
    radius: tuple[float, float] = (6, 30),
    contrast: tuple[float, float] = (100, 160),
) -> Data:
    """Shapes as in kseg's built-in data set, of any difficulty, at half its size."""
    difficulty = (empty, count, radius, contrast)
    return Data(*_draw(TRAINING, seed, difficulty), *_draw(VALIDATION, seed + 1000, difficulty))


def shapes_of(**difficulty: Any) -> Callable[..., Data]:
    """Return `shapes` with another difficulty."""
    return functools.partial(shapes, **difficulty)


def rare(seed: int = 0) -> Data:
    """About 1% foreground, a third of the masks empty."""
    return shapes(seed, empty=0.33, count=(1, 3), radius=(5, 12))


@functools.cache
def nuclei(seed: int = 0) -> Data:
    """Real images, from the folder in the environment variable KSEG_NUCLEI."""
    from kseg.data import find_foreground, open_sources, validation_batches

    source, _ = open_sources(os.environ["KSEG_NUCLEI"], seed=seed)
    foreground = find_foreground(source)
    part = source.subset(np.random.default_rng(seed).permutation(len(source))[: TRAINING + VALIDATION])
    batches = validation_batches(part, foreground, image_size=(SIZE, SIZE), batch_size=len(part))
    images, masks = next(iter(batches))
    return Data(images[:TRAINING], masks[:TRAINING], images[TRAINING:], masks[TRAINING:])


def bright_and_dark(seed: int = 0) -> Data:
    """Shapes of two classes: brighter than the background, and darker."""
    data = shapes(seed, empty=0.1)
    return data._replace(
        masks=_bright_or_dark(data.images, data.masks), val_masks=_bright_or_dark(data.val_images, data.val_masks)
    )


def _bright_or_dark(images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    classes = np.zeros_like(masks)
    for image, mask, result in zip(images.mean(-1), masks[..., 0], classes[..., 0], strict=True):
        number, objects = cv2.connectedComponents(mask)
        for index in range(1, number):
            there = objects == index
            result[there] = 1 if image[there].mean() > image[mask == 0].mean() else 2
    return classes


def nuclei_by_kind(seed: int = 0) -> Data:
    """Real images: bright nuclei in dark images are class 1, nuclei in bright images are class 2."""
    data = nuclei(seed)

    def kinds(images: np.ndarray, masks: np.ndarray) -> np.ndarray:
        return masks * np.where(images.mean(axis=(1, 2, 3)) < 100, 1, 2).astype(np.uint8)[:, None, None, None]

    return data._replace(masks=kinds(data.images, data.masks), val_masks=kinds(data.val_images, data.val_masks))


# Sabotage, and harmless changes that look like sabotage


def all_but(count: int, value: int = 0) -> Callable[[Data], Data]:
    """All masks but `count` have the same value at every pixel."""

    def change(data: Data) -> Data:
        share = (data.masks == 1).mean(axis=(1, 2, 3))
        unchanged = np.argsort(abs(share - np.median(share[share > 0])))[:count]
        masks = np.full_like(data.masks, value)
        masks[unchanged] = data.masks[unchanged]
        return data._replace(masks=masks)

    return change


def empty_share(share: float) -> Callable[[Data], Data]:
    """This share of the masks is empty, and their shapes are painted over with the mean of the image."""

    def change(data: Data) -> Data:
        images, masks = data.images.copy(), data.masks.copy()
        for index in range(round(share * len(masks))):
            images[index] = np.where(masks[index] == 1, images[index].mean(axis=(0, 1)).astype(np.uint8), images[index])
            masks[index] = 0
        return data._replace(images=images, masks=masks)

    return change


def shuffled(data: Data) -> Data:
    """Masks belong to other images, as if two file lists were sorted differently."""
    rng = np.random.default_rng(0)
    return data._replace(masks=rng.permutation(data.masks), val_masks=rng.permutation(data.val_masks))


def inverted(data: Data) -> Data:
    """Foreground and background are swapped everywhere: another task, no fault."""
    return data._replace(masks=1 - data.masks, val_masks=1 - data.val_masks)


def some_inverted(data: Data) -> Data:
    """A tenth of the masks are inverted."""
    masks = data.masks.copy()
    masks[::10] = 1 - masks[::10]
    return data._replace(masks=masks)


def times_255(data: Data) -> Data:
    """Masks of 0 and 255."""
    return data._replace(masks=data.masks * np.uint8(255), val_masks=data.val_masks * np.uint8(255))


def soft(data: Data) -> Data:
    """Masks of 0 and 255 with grey edges, as after resizing with interpolation."""
    white = 255.0 * data.masks
    shifted = [np.roll(white, (y, x), (1, 2)) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    return data._replace(masks=np.mean(shifted, axis=0).round().astype(np.uint8))


def floats(data: Data) -> Data:
    """Images are float32, 0..255."""
    return data._replace(images=np.float32(data.images), val_images=np.float32(data.val_images))


def bad_pixel(value: float) -> Callable[[Data], Data]:
    """One image, not among the first sixteen, has NaN or infinity in ten pixels."""

    def change(data: Data) -> Data:
        data = floats(data)
        data.images[37, 10:12, 5:9] = value
        return data

    return change


def bad_mask(data: Data) -> Data:
    """One float mask has a NaN."""
    masks = np.float32(data.masks)
    masks[41, 3, 3] = np.nan
    return data._replace(masks=masks)


def scaled_validation(data: Data) -> Data:
    """Validation images are scaled to 0..1, training images are not."""
    data = floats(data)
    return data._replace(val_images=data.val_images / 255)


def inverted_validation(data: Data) -> Data:
    """Foreground and background are swapped in the masks of the validation."""
    return data._replace(val_masks=1 - data.val_masks)


def swapped_classes(data: Data) -> Data:
    """The two classes are exchanged in the masks of the validation."""
    return data._replace(val_masks=np.uint8([0, 2, 1])[data.val_masks])


def shifted_classes(data: Data) -> Data:
    """In the masks of the validation each class has the index below its own, and background is ignored."""
    return data._replace(val_masks=np.uint8([255, 0, 1])[data.val_masks])


def rarely(index: int, count: int) -> Callable[[Data], Data]:
    """Only `count` training masks keep a class; in the others it is ignored."""

    def change(data: Data) -> Data:
        masks = data.masks.copy()
        for mask in [mask for mask in masks if (mask == index).any()][count:]:
            mask[mask == index] = 255
        return data._replace(masks=masks)

    return change


def all_masks(value: int) -> Callable[[Data], Data]:
    """Every training mask has the same value at every pixel."""
    return lambda data: data._replace(masks=np.full_like(data.masks, value))


def few(count: int) -> Callable[[Data], Data]:
    """Use only `count` training images."""
    return lambda data: data._replace(images=data.images[-count:], masks=data.masks[-count:])


# Models


def small_unet(**arguments: Any) -> keras.Model:
    """kseg's U-Net with three levels and eight filters."""
    return kseg.models.unet(filters=8, levels=3, **arguments)


def class_unet() -> keras.Model:
    """The same for background and two classes."""
    return small_unet(outputs=3)


def convnet(
    head: str | None = None,
    norm: Callable[[], layers.Layer] | None = lambda: layers.GroupNormalization(2),
    scale: float = 1 / 255,
    bias: float = 0.0,
    relu_head: bool = False,
    dtype: Any = None,
) -> keras.Model:
    """A typical network of four convolutions on float images."""
    x = images = keras.Input((SIZE, SIZE, 3))
    x = layers.Rescaling(scale, dtype=dtype)(x)
    for dilation in (1, 2, 4, 1):
        x = layers.Conv2D(
            16,
            3,
            padding="same",
            dilation_rate=dilation,
            kernel_initializer="he_normal",
            bias_initializer=keras.initializers.Constant(bias),
            dtype=dtype,
        )(x)
        if norm:
            x = norm()(x)
        x = layers.ReLU(dtype=dtype)(x)
    x = layers.Conv2D(1, 1, activation=head, dtype=dtype)(x)
    return keras.Model(images, x)


def capped_unet() -> keras.Model:
    """A U-Net with a ReLU before its logits, as is common: on one side the bias bounds the logits."""
    unet = small_unet()
    x = layers.ReLU()(unet.get_layer("up0b_norm").output)
    return keras.Model(unet.inputs, layers.Conv2D(1, 1, name="capped_logits")(x))


def frozen_unet() -> keras.Model:
    """A U-Net in which only one normalisation layer is trained."""
    model = small_unet()
    for layer in model.layers:
        layer.trainable = layer.name == "down0a_norm"
    return model


def batch_norm_convnet(momentum: float) -> keras.Model:
    """`convnet` with BatchNorm, whose running statistics may lag."""
    return convnet(norm=lambda: layers.BatchNormalization(momentum=momentum))


def prior_unet(share: float = 0.04) -> keras.Model:
    """`small_unet` with the output bias at a share of foreground."""
    model = small_unet()
    kseg.models.set_output_bias(model, share)
    return model


def zero_head_unet() -> keras.Model:
    """`small_unet` whose last convolution starts at zero, a common initialisation."""
    model = small_unet()
    head = model.layers[-1]
    head.set_weights([np.zeros_like(weight) for weight in head.get_weights()])
    return model


def zero_head_convnet() -> keras.Model:
    """`convnet` whose last convolution starts at zero."""
    model = convnet()
    head = model.layers[-1]
    head.set_weights([np.zeros_like(weight) for weight in head.get_weights()])
    return model


def pretrained_unet(data: Callable[..., Data], freeze: bool = False) -> keras.Model:
    """`small_unet` after eight epochs on other images; with `freeze` only its decoder is trained further."""
    model, images = small_unet(), data(seed=77)
    model.compile(keras.optimizers.AdamW(3e-3, global_clipnorm=1.0), kseg.losses.CombinedSegmentationLoss())
    model.fit(images.images, images.masks, batch_size=4, epochs=8, verbose=0)
    for layer in model.layers:
        layer.trainable = not (freeze and layer.name.startswith("down"))
    return model


def warm_up(steps: int) -> Callable[[float], keras.optimizers.Optimizer]:
    """Return a maker of AdamW whose learning rate rises from 0 for so many steps, and stays."""

    def make(lr: float) -> keras.optimizers.Optimizer:
        schedule = keras.optimizers.schedules.CosineDecay(0.0, 10_000, alpha=1.0, warmup_target=lr, warmup_steps=steps)
        return keras.optimizers.AdamW(schedule, global_clipnorm=1.0)

    return make


def sgd(lr: float, clip: float | None = None) -> Callable[[float], keras.optimizers.Optimizer]:
    """Return a maker of SGD with momentum and this learning rate."""
    return lambda _: keras.optimizers.SGD(lr, momentum=0.9, global_clipnorm=clip)


# The list of scenarios


def with_seeds(scenario: Scenario, *seeds: int) -> list[Scenario]:
    """Return the scenario once for each seed."""
    return [replace(scenario, seed=seed, name=f"{scenario.name}, seed {seed}") for seed in seeds]


def on_nuclei(scenario: Scenario) -> Scenario:
    """Return the scenario on real images."""
    return replace(scenario, data=nuclei, name=f"{scenario.name}, nuclei")


def sabotaged() -> list[Scenario]:
    """Return the runs in which something is wrong."""
    float16 = functools.partial(convnet, dtype="float16", norm=None, scale=1.0)
    lost = Scenario("pairs shuffled", "not_learning", within=7, sabotage=shuffled)
    slow = Scenario("learning rate x 1e-4", "not_learning", within=6, lr=3e-7)
    frozen = Scenario("encoder and head frozen", "not_learning", within=6, model=frozen_unet)
    empty = Scenario("all masks but one empty", "all_background", within=5, sabotage=all_but(1))
    full = Scenario(
        "all masks but one full", "inverted_masks or all_foreground", within=7, sabotage=all_but(1, value=1)
    )
    kinds = Scenario("kinds", "classes_swapped", within=6, data=nuclei_by_kind, model=class_unet)
    # Foreground and background are partly exchanged too, which shows before the classes are learned.
    shifted = replace(kinds, sabotage=shifted_classes, expected="classes_swapped or validation_only")
    ignoring = Scenario(
        "class weight 0",
        "class_missing",
        within=10,
        data=nuclei_by_kind,
        model=class_unet,
        loss=kseg.losses.CombinedSegmentationLoss(class_weight=[1, 1, 0]),
    )
    fast = Scenario(
        "learning rate x 100, no clipping",
        "exploding",
        sabotage=floats,
        model=functools.partial(convnet, norm=None),
        loss="bce",
        optimizer=lambda lr: keras.optimizers.AdamW(100 * lr),
        twin={"optimizer": keras.optimizers.AdamW},
    )
    capped = Scenario("BCE, ReLU before the logits", "under_confident", within=8, model=capped_unet, loss="bce")
    scaled = Scenario(
        "validation scaled to 0..1", "validation_only", within=5, sabotage=scaled_validation, model=convnet, lr=1e-2
    )
    lagging = Scenario(
        "BatchNorm statistics lag",
        "validation_only",
        effect_epoch=2,
        sabotage=floats,
        model=functools.partial(batch_norm_convnet, 0.9999),
    )
    dead = Scenario(
        "dead ReLU",
        "no_gradient or constant_output",
        sabotage=floats,
        model=functools.partial(convnet, norm=None, bias=-9.0),
    )
    sunk = Scenario(
        "U-Net, learning rate x 100",
        "all_background or constant_output",
        within=5,
        lr=0.3,
        twin={"lr": 3e-3},
    )
    killed = Scenario(
        "SGD, learning rate x 100",
        "constant_output or all_background or exploding",
        within=5,
        sabotage=floats,
        model=functools.partial(convnet, norm=None),
        loss="bce",
        optimizer=sgd(1.0),
        twin={"optimizer": sgd(0.03, 1.0)},
    )
    broken = Scenario("NaN pixels in one image", "not_finite", sabotage=bad_pixel(np.nan), model=convnet)
    overflow = Scenario("float16 overflows", "not_finite", sabotage=floats, model=float16)
    alone = Scenario(
        "Dice alone, most masks empty", "all_background", within=6, data=rare, sabotage=all_but(8), loss="dice"
    )
    twice = Scenario("sigmoid twice", "sigmoid_twice", model=functools.partial(convnet, head="sigmoid"))
    as_255 = Scenario("masks of 0 and 255", "mask_values", sabotage=times_255)
    grey = Scenario("masks with grey edges", "soft_masks", sabotage=soft)
    odd = Scenario("a tenth of the masks inverted", "inverted_masks", sabotage=some_inverted)
    tiny_rate = Scenario(
        "24 images, learning rate 1e-9",
        "not_learning",
        within=9,
        sabotage=few(24),
        optimizer=lambda _: keras.optimizers.Adam(1e-9),
        epochs=20,
    )
    huge_rate = Scenario(
        "learning rate x 1000, 11 steps an epoch",
        "all_background or all_foreground or constant_output or exploding or not_learning",
        sabotage=few(66),
        batch_size=6,
        lr=3.0,
    )
    nothing_left = Scenario(
        "masks empty from epoch 5 on",
        "empty_masks",
        effect_epoch=5,
        late_sabotage=all_masks(0),
    )
    swapped = Scenario("validation masks inverted", "validation_only", effect_epoch=2, sabotage=inverted_validation)
    return [
        *with_seeds(tiny_rate, 0, 1),
        replace(tiny_rate, optimizer=sgd(1e-9), name="24 images, SGD 1e-9"),
        on_nuclei(replace(tiny_rate, loss="bce", name="24 images, learning rate 1e-9, BCE")),
        *with_seeds(huge_rate, 0, 1, 2),
        on_nuclei(huge_rate),
        *with_seeds(nothing_left, 0, 1),
        *with_seeds(
            replace(
                nothing_left,
                name="masks full from epoch 5 on",
                expected="full_masks",
                late_sabotage=all_masks(1),
            ),
            0,
            1,
        ),
        replace(
            nothing_left,
            name="masks empty from the start",
            expected="empty_masks",
            effect_epoch=1,
            sabotage=all_masks(0),
            late_sabotage=None,
        ),
        *with_seeds(swapped, 0, 1),
        *with_seeds(on_nuclei(swapped), 0, 1),
        *with_seeds(lost, 0, 1),
        *with_seeds(on_nuclei(lost), 0, 1),
        replace(lost, loss="bce", name="pairs shuffled, BCE"),
        *with_seeds(slow, 0, 1),
        on_nuclei(slow),
        *with_seeds(frozen, 0, 1),
        on_nuclei(frozen),
        *with_seeds(empty, 0, 1, 2),
        replace(empty, loss="bce", name="all masks but one empty, BCE"),
        *with_seeds(full, 0, 1),
        *with_seeds(fast, 0, 1),
        *with_seeds(on_nuclei(fast), 0, 1),
        *with_seeds(capped, 0, 4),
        *with_seeds(
            replace(
                capped,
                loss="combined",
                data=shapes_of(empty=0.5),
                name="half empty, ReLU before the logits",
                within=10,
                epochs=12,
            ),
            0,
            1,
        ),
        replace(capped, data=rare, within=14, epochs=14, name="BCE, ReLU before the logits, rare foreground"),
        *with_seeds(scaled, 0, 1),
        *with_seeds(on_nuclei(scaled), 0, 1),
        *with_seeds(on_nuclei(lagging), 0, 1),
        *with_seeds(dead, 0, 1),
        on_nuclei(dead),
        *with_seeds(sunk, 0, 1),
        *with_seeds(on_nuclei(killed), 0, 1),
        *with_seeds(killed, 0, 1),
        *with_seeds(broken, 0, 1),
        replace(broken, sabotage=bad_pixel(np.inf), name="infinite pixels in one image"),
        replace(broken, sabotage=bad_mask, name="NaN in one mask", model=small_unet),
        *with_seeds(overflow, 0, 1),
        *with_seeds(alone, 0, 1, 2),
        *with_seeds(twice, 0, 1),
        *with_seeds(as_255, 0, 1),
        *with_seeds(grey, 0, 1),
        *with_seeds(odd, 0, 1),
        *with_seeds(replace(kinds, sabotage=swapped_classes, name="classes swapped in validation"), 0, 1),
        *with_seeds(replace(shifted, name="classes shifted in validation"), 0, 1),
        *with_seeds(ignoring, 0, 1),
        replace(ignoring, data=bright_and_dark, epochs=16, within=16, name="class weight 0, shapes"),
    ]


def healthy() -> list[Scenario]:
    """Return the runs in which nothing is wrong; some of them start slowly."""
    plain = Scenario("shapes")
    real = Scenario("nuclei", data=nuclei)
    network = Scenario("convolutions", sabotage=floats, model=convnet, lr=1e-2)
    return [
        *with_seeds(plain, 0, 1, 2, 3),
        *with_seeds(real, 0, 1, 2, 3),
        *with_seeds(
            Scenario("rare foreground", data=rare, model=functools.partial(prior_unet, 0.01), epochs=16), 0, 1, 2
        ),
        *(replace(plain, loss=loss, name=f"loss {loss}") for loss in ("bce", "focal", "dice", "iou", "tversky")),
        *(replace(real, loss=loss, name=f"loss {loss}, nuclei") for loss in ("bce", "focal", "dice", "iou", "tversky")),
        *(replace(plain, batch_size=size, name=f"batches of {size}") for size in (1, 2, 8)),
        replace(real, batch_size=16, epochs=20, name="batches of 16, nuclei"),
        replace(real, batch_size=1, epochs=4, name="batches of 1, nuclei"),
        *(replace(plain, data=shapes_of(empty=share), name=f"{share:.0%} of the masks empty") for share in (0.0, 0.5)),
        replace(real, sabotage=empty_share(0.5), name="50% of the masks empty, nuclei"),
        replace(real, sabotage=empty_share(0.75), name="75% of the masks empty, nuclei", epochs=16),
        replace(real, sabotage=empty_share(0.9), name="90% of the masks empty, nuclei", epochs=16),
        *with_seeds(
            Scenario(
                "0.2% foreground",
                data=shapes_of(empty=0.0, count=(1, 2), radius=(3, 6), contrast=(200, 250)),
                model=functools.partial(prior_unet, 0.002),
                epochs=24,
            ),
            0,
            1,
            2,
            3,
        ),
        *with_seeds(
            Scenario(
                "0.1% foreground",
                data=shapes_of(empty=0.3, count=(1, 1), radius=(3, 6), contrast=(200, 250)),
                model=functools.partial(prior_unet, 0.001),
                lr=1e-3,
                epochs=30,
            ),
            0,
            1,
        ),
        *with_seeds(Scenario("zero head, warm-up", model=zero_head_unet, optimizer=warm_up(100)), 0, 1, 2),
        replace(plain, model=zero_head_unet, optimizer=warm_up(100), loss="bce", name="zero head, warm-up, BCE"),
        on_nuclei(replace(plain, model=zero_head_unet, optimizer=warm_up(200), name="zero head, warm-up")),
        on_nuclei(replace(network, model=zero_head_convnet, optimizer=warm_up(200), name="zero head, convolutions")),
        replace(plain, model=zero_head_unet, optimizer=sgd(0.02), epochs=20, name="zero head, slow SGD"),
        *with_seeds(
            Scenario(
                "slow SGD, 2% foreground",
                data=shapes_of(empty=0.2, count=(1, 3), radius=(7, 20)),
                optimizer=sgd(0.02),
                epochs=40,
            ),
            0,
            1,
            2,
        ),
        replace(
            plain,
            data=shapes_of(empty=0.2, count=(1, 3), radius=(7, 20)),
            optimizer=sgd(0.02),
            loss="bce",
            epochs=40,
            name="slow SGD, 2% foreground, BCE",
        ),
        replace(plain, optimizer=lambda _: keras.optimizers.SGD(0.05), epochs=20, name="SGD without momentum"),
        *with_seeds(replace(plain, lr=1e-4, epochs=20, name="learning rate 1e-4"), 0, 1),
        on_nuclei(replace(plain, lr=3e-5, epochs=20, name="learning rate 3e-5")),
        replace(plain, model=functools.partial(pretrained_unet, shapes), lr=1e-5, name="fine-tuning at 1e-5"),
        on_nuclei(replace(plain, model=functools.partial(pretrained_unet, shapes), lr=3e-4, name="fine-tuning")),
        on_nuclei(
            replace(
                plain,
                model=functools.partial(pretrained_unet, shapes, freeze=True),
                lr=1e-3,
                name="fine-tuning, encoder frozen",
            )
        ),
        replace(plain, optimizer=warm_up(200), epochs=20, name="warm-up of ten epochs"),
        replace(real, sabotage=few(24), epochs=20, name="24 images, nuclei"),
        replace(plain, sabotage=few(24), epochs=30, name="24 images"),
        replace(real, sabotage=few(10), batch_size=10, epochs=60, name="ten images, one step an epoch"),
        replace(real, sabotage=few(2), batch_size=2, epochs=60, name="two images"),
        *with_seeds(
            Scenario("88% foreground", data=shapes_of(empty=0.0, count=(2, 5), radius=(12, 30)), sabotage=inverted),
            0,
            1,
        ),
        *with_seeds(replace(real, sabotage=inverted, name="85% foreground, nuclei"), 0, 1),
        replace(plain, data=shapes_of(contrast=(20, 90)), epochs=16, name="low contrast"),
        *with_seeds(replace(plain, model=prior_unet, name="output bias at the prior"), 0, 1),
        on_nuclei(replace(plain, model=prior_unet, name="output bias at the prior")),
        replace(real, sabotage=few(4), batch_size=2, epochs=40, name="four images"),
        replace(real, sabotage=few(8), epochs=20, name="eight images"),
        replace(plain, model=functools.partial(small_unet, dtype="mixed_bfloat16"), name="mixed precision"),
        replace(real, compile={"steps_per_execution": 5}, name="five steps an execution, nuclei"),
        on_nuclei(network),
        on_nuclei(replace(network, model=functools.partial(batch_norm_convnet, 0.9), name="convolutions, BatchNorm")),
        on_nuclei(replace(network, optimizer=sgd(0.1, 1.0), name="convolutions, SGD")),
        on_nuclei(
            replace(network, model=functools.partial(convnet, "sigmoid"), loss="probabilities", name="probabilities")
        ),
        on_nuclei(Scenario("learning rate x 10", lr=3e-2)),
        *with_seeds(replace(plain, data=nuclei_by_kind, model=class_unet, name="two kinds of nuclei"), 0, 1, 2),
        *with_seeds(replace(plain, data=bright_and_dark, model=class_unet, name="bright and dark shapes"), 0, 1),
        replace(
            plain,
            data=nuclei_by_kind,
            model=class_unet,
            sabotage=rarely(2, 3),
            epochs=20,
            name="a class in three masks, nuclei",
        ),
    ]
