"""Pictures of a deep network of random weights, drawn by class."""

import math

import numpy as np
from numpy.random import Generator

SIDE = 64


class Dreams:
    """Draws images of classes with a deep network of random weights.

    Each class has one point in latent space for its object and one for its backdrop. An image is drawn from latents
    near these points. The object is shifted, rotated and scaled, lighting and haze vary, and half of the images are
    mirrored. Some images lie at a random point on the way to another class; no classifier can be right about those.
    """

    LATENT = 16
    OBJECT_SPREAD = 0.3  # standard deviation of latents around their class, that of the classes being 1
    BACKDROP_SPREAD = 0.33
    AMBIGUOUS = 0.08  # share of images on the way to another class
    SHIFT = 0.3  # at most, in units of half a side
    TURN = 0.5  # at most, in radians
    SCALE = 1.25  # at most; its inverse is the minimum
    RADIUS = 0.7  # of the object on average, in units of half a side
    RAGGED = 0.25  # how far the outline departs from that radius
    EDGE = 8.0  # sharpness of the outline
    CONTRAST = 0.2
    TINT = 0.2
    HAZE = 0.65  # large blotches, which mislead nearest neighbours but average out
    BLOTCHES = 5  # of haze along each side
    NOISE = 0.06

    def __init__(self, classes: int, generator: Generator) -> None:
        self.network = CoordinateNetwork(self.LATENT, generator)
        self.classes = classes
        self.prototypes = _normal(generator, 2, classes, self.LATENT)
        self.fine, self.coarse = _grid(SIDE), _grid(SIDE // 2)
        self.enlarge, self.spread_haze = _bilinear(SIDE // 2, SIDE), _bilinear(self.BLOTCHES, SIDE)

    def draw(self, labels: np.ndarray, generator: Generator) -> np.ndarray:
        """One image for each label, uint8 ``[N, 64, 64, 3]``."""
        return self.paint(self._latents(labels, generator), generator)

    def paint(self, latents: np.ndarray, generator: Generator) -> np.ndarray:
        """The images of latents of object and backdrop, float32 ``[2, N, LATENT]``: uint8 ``[N, 64, 64, 3]``."""
        objects, backdrops = latents
        count = len(objects)
        mirror = np.where(generator.random(count) < 0.5, -1, 1).astype(np.float32)
        points = self._object_points(mirror, generator)
        texture = self.network(objects, points)
        outline = self.RADIUS + self.RAGGED * texture[:, 3:] - np.linalg.norm(points, axis=1, keepdims=True)
        opacity = 1 / (1 + np.exp(-self.EDGE * outline))
        backdrop = self._backdrop(backdrops, mirror, generator)
        scene = backdrop + opacity * (np.tanh(texture[:, :3]) - backdrop)
        scene += self._haze(count, generator)
        contrast = 0.9 * np.exp(self.CONTRAST * _normal(generator, count, 1, 1))
        scene = contrast * scene + self.TINT * _normal(generator, count, 3, 1)
        scene += self.NOISE * _normal(generator, *scene.shape)
        pixels = np.clip(127.5 + 90 * scene, 0, 255).astype(np.uint8)
        return pixels.transpose(0, 2, 1).reshape(count, SIDE, SIDE, 3)

    def _latents(self, labels: np.ndarray, generator: Generator) -> np.ndarray:
        """The latents of object and backdrop, float32 ``[2, N, LATENT]``."""
        count = len(labels)
        other = (labels + generator.integers(1, self.classes, count)) % self.classes
        way = (generator.random(count) * (generator.random(count) < self.AMBIGUOUS)).astype(np.float32)[:, None]
        return self.near((1 - way) * self.prototypes[:, labels] + way * self.prototypes[:, other], generator)

    def near(self, centres: np.ndarray, generator: Generator) -> np.ndarray:
        """Latents near the given ones, both float32 ``[2, N, LATENT]``: those of the object and of the backdrop."""
        spread = np.array([self.OBJECT_SPREAD, self.BACKDROP_SPREAD], np.float32)[:, None, None]
        return (centres + spread * _normal(generator, *centres.shape)) / np.sqrt(1 + spread**2)

    def _object_points(self, mirror: np.ndarray, generator: Generator) -> np.ndarray:
        """Each pixel's position in the coordinates of the object: float32 ``[N, 2, pixels]``."""
        angle = _uniform(generator, self.TURN, len(mirror))
        scale = np.exp(_uniform(generator, math.log(self.SCALE), len(mirror)))
        shift = _uniform(generator, self.SHIFT, len(mirror), 2, 1)
        cosine, sine = np.cos(angle) / scale, np.sin(angle) / scale
        turn = np.array([[cosine * mirror, sine * mirror], [-sine, cosine]]).transpose(2, 0, 1)
        return turn @ (self.fine - shift)

    def _backdrop(self, latents: np.ndarray, mirror: np.ndarray, generator: Generator) -> np.ndarray:
        """Colours from -1 to 1, float32 ``[N, 3, pixels]``, drawn at half resolution, since it is out of focus."""
        points = np.repeat(self.coarse[None], len(latents), axis=0)
        points[:, 0] *= mirror[:, None]
        points += _uniform(generator, self.SHIFT, len(latents), 2, 1)
        colours = self.network(latents, points)[:, :3].reshape(-1, 3, SIDE // 2, SIDE // 2)
        return np.tanh(self.enlarge @ colours @ self.enlarge.T).reshape(-1, 3, SIDE * SIDE)

    def _haze(self, count: int, generator: Generator) -> np.ndarray:
        blotches = self.HAZE * _normal(generator, count, 3, self.BLOTCHES, self.BLOTCHES)
        return (self.spread_haze @ blotches @ self.spread_haze.T).reshape(count, 3, SIDE * SIDE)


class CoordinateNetwork:
    """Maps a point of the plane and a latent to three colours and a height.

    A compositional pattern-producing network (Stanley 2007) of sines (Sitzmann et al. 2020), whose layers a
    mapping network modulates by the latent (Chan et al. 2021). All weights are random and never trained.
    """

    WIDTH = 16
    MAPPED = 64
    FREQUENCY = 5.0  # of the first layer, in radians per half a side
    GAIN = 1.6  # of the later layers; larger is rougher
    MODULATION = 0.5  # of the weights by the latent
    PHASE = 1.5

    def __init__(self, latent: int, generator: Generator) -> None:
        width, mapped = self.WIDTH, self.MAPPED
        self.mapping = _normal(generator, latent, mapped) * (1.2 / math.sqrt(latent))
        self.modulations = _normal(generator, 3, mapped, 2 * width) / math.sqrt(mapped)
        self.layers = [
            self.FREQUENCY * _normal(generator, width, 2),
            *(self.GAIN * _orthogonal(generator, width, width) for _ in range(2)),
        ]
        self.output = 1.8 * _orthogonal(generator, 4, width)

    def __call__(self, latents: np.ndarray, points: np.ndarray) -> np.ndarray:
        """latents float32 ``[N, L]``, points float32 ``[N, 2, P]``; returns float32 ``[N, 4, P]``."""
        mapped = np.tanh(latents @ self.mapping)
        signal = points
        for weights, modulation in zip(self.layers, self.modulations, strict=True):
            strength, phase = np.split((mapped @ modulation)[..., None], 2, axis=1)
            signal = (weights * (1 + self.MODULATION * strength)) @ signal
            signal += self.PHASE * phase
            np.sin(signal, out=signal)
        return self.output @ signal


def _normal(generator: Generator, *shape: int) -> np.ndarray:
    return generator.standard_normal(shape, dtype=np.float32)


def _orthogonal(generator: Generator, rows: int, columns: int) -> np.ndarray:
    """Random orthonormal rows, so that colours differ clearly whatever the seed."""
    return np.linalg.qr(_normal(generator, columns, rows))[0].T


def _uniform(generator: Generator, most: float, *shape: int) -> np.ndarray:
    """Uniform random numbers from ``-most`` to ``most``, float32."""
    return most * (2 * generator.random(shape, dtype=np.float32) - 1)


def _grid(side: int) -> np.ndarray:
    """x and y of each pixel's centre, from -1 to 1: float32 ``[2, side * side]``."""
    centres = (np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1
    return np.stack(np.meshgrid(centres, centres)).reshape(2, -1)


def _bilinear(coarse: int, fine: int) -> np.ndarray:
    """The matrix of bilinear interpolation along one axis, float32 ``[fine, coarse]``."""
    places = np.clip((np.arange(fine) + 0.5) * coarse / fine - 0.5, 0, coarse - 1)
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(coarse))).astype(np.float32)
