"""A small ray marcher in numpy: distance fields in, a shaded picture on white out.

Points travel as float32 arrays of shape (3, N), colours as linear RGB of shape (3, N) or (3, 1). A `Part` is one
surface with one material; a picture is a list of parts seen by an orthographic camera that looks along -z.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_LATTICE = np.random.default_rng(360).random(64**3, dtype=np.float32)


@dataclass
class Part:
    """One surface: `sdf(p)` is its distance, `skin(p, n)` its colour, `bump(p)` a height that only the normals see."""

    sdf: Callable
    skin: Callable
    bump: Callable | None = None
    gloss: float = 30.0  # exponent of the highlight
    shine: float = 0.25  # strength of the highlight
    wrap: float = 0.2  # how far light creeps round the edge: 0 for wood, 0.5 for flesh
    glow: float = 0.0  # light that comes through the body, for grapes


@dataclass
class Light:
    """Directions in camera space, of length 1, and strengths."""

    key: np.ndarray
    fill: np.ndarray
    power: float


# ---- numbers and colours ------------------------------------------------------------------------------------------


def rgb(code):
    """'#rrggbb' as a linear colour of shape (3, 1)."""
    s = np.array([int(code[i : i + 2], 16) for i in (1, 3, 5)], np.float32) / 255
    return (np.where(s <= 0.04045, s / 12.92, ((s + 0.055) / 1.055) ** 2.4)).astype(np.float32)[:, None]


def mix(a, b, t):
    return a + (b - a) * t


def step(lo, hi, x):
    """The smoothstep from 0 at `lo` to 1 at `hi`; `lo` may be the larger of the two."""
    t = np.clip((x - lo) / (hi - lo), 0, 1)
    return t * t * (3 - 2 * t)


def column(*v):
    return np.array(v, np.float32)[:, None]


def unit(v):
    return v / np.maximum(np.sqrt((v * v).sum(0)), 1e-9)


# ---- textures -----------------------------------------------------------------------------------------------------


def noise(p, freq):
    """Value noise in 0..1; `freq` is a number, or a (3, 1) column for grain with a direction."""
    q = (p * freq).astype(np.float32)
    cell = np.floor(q)
    fx, fy, fz = (lambda f: f * f * (3 - 2 * f))(q - cell)
    x, y, z = cell.astype(np.int32) & 63
    x1, y1, z1 = (x + 1) & 63, ((y + 1) & 63) << 6, ((z + 1) & 63) << 12
    y, z = y << 6, z << 12
    row = lambda j, k: mix(_LATTICE[x + j + k], _LATTICE[x1 + j + k], fx)
    return mix(mix(row(y, z), row(y1, z), fy), mix(row(y, z1), row(y1, z1), fy), fz)


def fbm(p, freq, octaves=3):
    """Octaves of noise, in 0..1."""
    total, weight = 0.0, 0.0
    for k in range(octaves):
        total = total + noise(p + 7.3 * k, freq * 2.03**k) * 0.5**k
        weight += 0.5**k
    return total / weight


def specks(p, freq, size):
    """Round dots, one at a random place in each cell of a grid: 1 in the middle of a dot, 0 outside."""
    q = p * freq
    cell = np.floor(q)
    x, y, z = cell.astype(np.int32)
    d2 = 0.0
    for axis in range(3):
        place = _LATTICE[(x * 7 + y * 131 + z * 2017 + axis * 9173) & (64**3 - 1)]
        d2 = d2 + (q[axis] - cell[axis] - 0.25 - 0.5 * place) ** 2
    return step(size, size * 0.5, np.sqrt(d2))


# ---- shapes -------------------------------------------------------------------------------------------------------


class Lathe:
    """A solid of revolution about y through the points (`rho`, `y`), from the top pole to the bottom one.

    Every ray from the origin must leave it once. Calling it gives a first-order distance; `swell` scales the radius.
    """

    def __init__(self, rho, y, samples=1024):
        pts = np.stack([rho, y], axis=1).astype(np.float64)
        ends = pts[[1, -2]] * [-1, 1]
        pts = np.vstack([ends[:1], pts, ends[1:]])
        t = np.linspace(0, 1, 40, endpoint=False)[:, None]
        spans = []
        for a, b, c, d in zip(pts, pts[1:], pts[2:], pts[3:]):  # Catmull-Rom
            spans.append(
                b + t * (c - a) / 2 + t**2 * (a - 2.5 * b + 2 * c - d / 2) + t**3 * ((d - a) / 2 + 1.5 * (b - c))
            )
        rho, y = np.vstack(spans + [pts[-2:-1]]).T
        self.theta = np.linspace(0, np.pi, samples)
        self.radius = np.interp(self.theta, np.arctan2(np.maximum(rho, 0), y), np.hypot(rho, y))
        slope = np.gradient(self.radius, self.theta) / self.radius
        self.lean = 1 / np.sqrt(1 + slope**2)

    def __call__(self, p, swell=0.0):
        rho = np.hypot(p[0], p[2])
        theta = np.arctan2(rho, p[1])
        reach = np.interp(theta, self.theta, self.radius).astype(np.float32)
        lean = np.interp(theta, self.theta, self.lean).astype(np.float32)
        return (np.hypot(rho, p[1]) - reach * (1 + swell)) * lean

    def width(self, y):
        """The radius about the axis at the heights `y`."""
        height = self.radius * np.cos(self.theta)
        return np.interp(y, height[::-1], (self.radius * np.sin(self.theta))[::-1])


def rod(points, radii):
    """A chain of capsules through `points`, with a radius at each of them."""
    pts = [column(*q) for q in points]

    def sdf(p):
        best = np.full(p.shape[1], 1e3, np.float32)
        for a, b, ra, rb in zip(pts, pts[1:], radii, radii[1:]):
            ab = b - a
            h = np.clip(((p - a) * ab).sum(0) / (ab * ab).sum(), 0, 1)
            w = p - a - ab * h
            best = np.minimum(best, np.sqrt((w * w).sum(0)) - mix(ra, rb, h))
        return best

    return sdf


def blades(count, root, length, width, rise, curl, thick=0.02, spin=0.0, start=0.0):
    """A ring of pointed leaves about y: `root` is the height they start at, `rise` their elevation in radians and
    `curl` how far the tip bends upward (negative: droops)."""
    cr, sr = np.cos(rise), np.sin(rise)

    def sdf(p):
        rho, phi = np.hypot(p[0], p[2]), np.arctan2(p[2], p[0]) + spin
        phi = phi - np.round(phi * (count / (2 * np.pi))) * (2 * np.pi / count)
        u, v, y = rho * np.cos(phi) - start, rho * np.sin(phi), p[1] - root
        along, off = u * cr + y * sr, y * cr - u * sr
        t = np.clip(along / length, 0, 1)
        half = width * np.sqrt(t + 0.12) * (1 - t) * 1.6
        off = off - curl * t * t + 0.35 * (np.abs(v) - half / 2)
        sheet = np.abs(off) - thick
        return np.maximum(np.maximum(sheet, np.abs(v) - half), np.maximum(-along, along - length)) * 0.6

    return sdf


def rotation(turn, pitch, roll):
    """Object to camera: turned about its own axis y, tipped to the camera, rolled in the picture; radians."""
    (ct, st), (cp, sp), (cr, sr) = ((np.cos(a), np.sin(a)) for a in (turn, pitch, roll))
    about_y = np.array([[ct, 0, st], [0, 1, 0], [-st, 0, ct]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return (about_z @ about_x @ about_y).astype(np.float32)


def moved(sdf, matrix, shift):
    """The shape after `matrix` and then `shift`; also for skins and bumps, which take points first."""
    return lambda p, *rest: sdf(matrix.T @ (p - shift), *(matrix.T @ n for n in rest))


# ---- the picture --------------------------------------------------------------------------------------------------


def _scene(parts):
    def nearest(p):
        best = parts[0].sdf(p)
        for part in parts[1:]:
            best = np.minimum(best, part.sdf(p))
        return best

    return nearest


def _march(scene, origin, toward, far, steps=160, close=2e-3):
    """The distance along each ray to the scene, and which rays hit."""
    t = np.zeros(origin.shape[1], np.float32)
    gap = np.full(origin.shape[1], far, np.float32)
    live = np.arange(origin.shape[1])
    for _ in range(steps):
        gap[live] = d = scene(origin[:, live] + toward * t[live])
        t[live] += 0.85 * d
        live = live[(d >= close) & (t[live] < far)]
        if not live.size:
            break
    hit = (gap < close) & (t < far + close)
    hit[live] = gap[live] < 10 * close  # rays that crept along an edge until the steps ran out
    return t, hit


def _normals(parts, owner, p, eps=4e-3):
    n = np.zeros_like(p)
    for k, part in enumerate(parts):
        at = owner == k
        height = (lambda q: part.sdf(q) - part.bump(q)) if part.bump else part.sdf
        for corner in ((1, -1, -1), (-1, -1, 1), (-1, 1, -1), (1, 1, 1)):
            n[:, at] += column(*corner) * height(p[:, at] + column(*corner) * eps)
    return unit(n)


def _shadow(scene, p, n, light):
    """How much of the key light reaches each point, with a soft edge."""
    seen, t = np.ones(p.shape[1], np.float32), np.full(p.shape[1], 0.04, np.float32)
    for _ in range(14):
        d = scene(p + n * 0.02 + light * t)
        seen = np.minimum(seen, np.clip(6 * d / t, 0, 1))
        t += np.clip(d, 0.03, 0.25)
    return seen


def _shade(parts, p, pose, light):
    """The linear colour of each surface point `p` (object space)."""
    scene = _scene(parts)
    owner = np.argmin(np.stack([part.sdf(p) for part in parts]), axis=0)
    n = _normals(parts, owner, p)
    key, fill, view, up = (pose.T @ v for v in (light.key, light.fill, column(0, 0, 1), column(0, 1, 0)))
    shadow = _shadow(scene, p, n, key)
    open_ = 1 - sum(w * np.clip(h - scene(p + n * h), 0, h) / h for h, w in ((0.05, 0.25), (0.14, 0.3), (0.3, 0.3)))
    facing, height = np.clip((n * view).sum(0), 0, 1), (n * up).sum(0)
    colour = np.empty_like(p)
    for k, part in enumerate(parts):
        at = owner == k
        m = n[:, at]
        soft = lambda d: np.clip(((m * d).sum(0) + part.wrap) / (1 + part.wrap), 0, 1)
        lit = light.power * (0.25 + 0.75 * shadow[at]) * soft(key) + 0.3 * soft(fill)
        lit = lit + open_[at] * (0.3 + 0.08 * height[at])
        lit = lit + part.glow * (0.35 + 0.65 * soft(-key)) * (1 - facing[at]) ** 0.7
        lobe = lambda d, e: np.clip((m * unit(d + view)).sum(0), 0, 1) ** e
        glint = part.shine * shadow[at] * (lobe(key, part.gloss) + 0.25 * lobe(key, part.gloss / 6))
        glint = (
            glint
            + 0.3 * part.shine * lobe(fill, part.gloss)
            + 0.15 * part.shine * open_[at] ** 2 * (1 - facing[at]) ** 4
        )
        colour[:, at] = part.skin(p[:, at], m) * lit * (0.55 + 0.45 * open_[at]) + glint
    return np.where(colour < 0.6, colour, 1 - 0.4 * np.exp(np.minimum(0.6 - colour, 0) / 0.4))  # no hard clipping


def _rays(xs, ys, pose, far):
    gx, gy = np.meshgrid(xs, ys)
    origin = np.stack([gx.ravel(), gy.ravel(), np.full(gx.size, far)]).astype(np.float32)
    return pose.T @ origin, pose.T @ column(0, 0, -1)


def render(parts, pose, light, size=100, over=3, fill=0.97, reach=2.6):
    """A (size, size, 3) uint8 picture on white; the parts fill the fraction `fill` of its longer side."""
    scene = _scene(parts)
    rough = np.linspace(-reach, reach, 72)
    _, hit = _march(scene, *_rays(rough, rough, pose, reach), 2 * reach, steps=48, close=0.03)
    rows, cols = np.nonzero(hit.reshape(72, 72))
    (x0, x1), (y0, y1) = ((rough[a.min()], rough[a.max()]) for a in (cols, rows))
    half = (max(x1 - x0, y1 - y0) / 2 + 0.02) / fill
    grid = (np.arange(size * over) + 0.5) / (size * over) * 2 * half - half
    origin, toward = _rays((x0 + x1) / 2 + grid, (y0 + y1) / 2 - grid, pose, reach)
    t, hit = _march(scene, origin, toward, 2 * reach)
    image = np.ones_like(origin)
    if hit.any():
        image[:, hit] = np.clip(_shade(parts, (origin + toward * t)[:, hit], pose, light), 0, 1)
    image = image.reshape(3, size, over, size, over).mean((2, 4)).transpose(1, 2, 0)
    srgb = np.where(image <= 0.0031308, image * 12.92, 1.055 * np.maximum(image, 1e-9) ** (1 / 2.4) - 0.055)
    return (srgb * 255 + 0.5).astype(np.uint8)
