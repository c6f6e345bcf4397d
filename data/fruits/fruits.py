"""The fruits as solids: one function each, from a random generator and the number of the individual to its parts.

The axis of a fruit is y with the stem up, its radius is about 1. `at` is where in the noise an individual is cut from.
"""

import numpy as np

from raymarch import Lathe, Part, blades, column, fbm, mix, moved, noise, rgb, rod, rotation, specks, step, unit

TAU = 2 * np.pi
UP = np.array([0.0, 1.0, 0.0])
WOOD, LEAF = rgb("#6b4a2b"), rgb("#4f7f2a")


# ---- shared pieces ------------------------------------------------------------------------------------------------


def lumps(rng, size):
    """A slow swelling of a few waves, so that no individual is a perfect solid of revolution."""
    a = rng.uniform(0, TAU, 6)

    def swell(p):
        slow = np.sin(1.7 * p[0] + a[0]) * np.sin(1.9 * p[2] + a[1])
        quick = np.sin(3.1 * p[0] + 2.3 * p[1] + a[2]) * np.sin(2.9 * p[2] + a[3])
        return size * (slow + 0.6 * quick)

    return swell


def somewhere(rng):
    """A random offset: where in the noise this individual is cut from."""
    return column(*rng.uniform(0, 40, 3))


def pick(k, *kinds):
    """The kind of the individual number `k`; the kinds take turns."""
    return kinds[k % len(kinds)]


def angle(p):
    """The longitude about y."""
    return np.arctan2(p[2], p[0])


def axial(p):
    """The distance from the axis y."""
    return np.hypot(p[0], p[2])


def plain(colour, at, freq=6.0, depth=0.35):
    """A skin of one colour with a little mottling."""
    return lambda p, n: colour * (1 - depth + 2 * depth * fbm(p + at, freq))


def stalk(points, radii, colour, at):
    """A woody stem along `points`, with a radius at each."""
    bark = lambda p: 0.012 * noise(p + at, 25)
    return Part(rod(points, radii), plain(colour, at, 14.0), bump=bark, shine=0.05, wrap=0.1)


# ---- the fruits --------------------------------------------------------------------------------------------------


def apple(rng, k):
    at, wave, sun = somewhere(rng), lumps(rng, 0.02), unit(column(rng.normal(), 0.4, rng.normal()))
    tall = rng.uniform(0.92, 1.04)
    body = Lathe(
        [0, 0.14, 0.42, 0.8, 1, 0.91, 0.62, 0.3, 0.12, 0],
        [0.5, 0.62, 0.85, 0.72, 0.2, -0.35, -0.78, -0.86, -0.78, -0.72],
    )
    dark, striped, green = ("#d9c04a", "#a3101c", 0.62), ("#e2b84c", "#c2261f", 0.52), ("#a9bf3f", "#8fae35", 0.3)
    base, blush, amount = pick(k, dark, striped, green)
    base, blush = rgb(base), rgb(blush)

    def sdf(p):
        q = p / column(1, tall, 1)
        return body(q, wave(p) + 0.025 * np.cos(5 * angle(q) + at[0]) * step(0.2, -0.9, q[1]))

    def skin(p, n):
        q = p / np.maximum(axial(p), 0.15)
        streak = noise(column(9, 1.2, 9) * q + at, 1.0) - 0.5 + noise(column(22, 1.5, 22) * q + at, 1.0) - 0.5
        sunny = amount + 0.35 * (unit(p) * sun).sum(0) + 0.9 * (fbm(p + at, 1.3) - 0.5) + 0.45 * streak
        colour = mix(base, blush, step(0.2, 0.6, sunny))
        colour = mix(colour, rgb("#e8d79a"), 0.55 * specks(p + at, 7, 0.11))
        cup = axial(p)
        colour = mix(colour, rgb("#a8a03e"), step(0.42, 0.14, cup) * step(0.3, 0.5, p[1]) * 0.8)
        return mix(colour, rgb("#6e5a2a"), step(0.22, 0.08, cup + 0.1 * noise(p + at, 9)) * 0.8)

    bend = rng.uniform(-0.12, 0.12, 2)
    path = [(0, 0.45, 0), (bend[0] * 0.4, 0.8, bend[1] * 0.4), (bend[0], 1.08, bend[1])]
    stem = stalk(path, [0.035, 0.035, 0.055], WOOD, at)
    calyx = Part(blades(5, -0.74, 0.16, 0.09, -0.9, 0.05), plain(rgb("#4a3a20"), at), shine=0.0)
    return [Part(sdf, skin, gloss=45, shine=0.4), stem, calyx]


def finger(rng, at, ripe):
    """One banana: a tapering tube along an arc in the plane of x and y, its stem at -x."""
    arc, span = rng.uniform(1.35, 1.75), rng.uniform(1.25, 1.4)
    sweep = span / arc
    s = np.linspace(-1.2, 1.0, 256)
    along = [-1.2, -1.02, -0.85, -0.6, -0.3, 0.2, 0.6, 0.85, 0.95, 1.0]
    thick = [0.105, 0.08, 0.10, 0.26, 0.335, 0.35, 0.31, 0.19, 0.085, 0.075]
    window = np.hanning(25) / np.hanning(25).sum()
    r = np.convolve(np.pad(np.interp(s, along, thick), 12, mode="edge"), window, mode="valid")
    r = r * rng.uniform(0.9, 1.05)

    def local(p):
        """Where along the tube (-1.2 at the stem, 1 at the tip), and the offset from its middle in three directions."""
        x, y = p[0], p[1] - arc + 0.45
        a = np.clip(np.arctan2(x, -y), -1.2 * sweep, sweep)
        cx, cy = x - arc * np.sin(a), y + arc * np.cos(a)
        e, h = cx * np.sin(a) - cy * np.cos(a), cx * np.cos(a) + cy * np.sin(a)
        return a / sweep, e, h, p[2]

    def sdf(p):
        t, e, h, z = local(p)
        ridge = 1 + 0.045 * np.cos(5 * np.arctan2(z, e) + 0.5)
        return (np.sqrt(e * e + z * z + h * h) - np.interp(t, s, r).astype(np.float32) * ridge) * 0.9

    def skin(p, n):
        t, e, _, z = local(p)
        ridge = np.cos(5 * np.arctan2(z, e) + 0.5)
        colour = mix(rgb("#f2c722"), rgb("#dfa51a"), fbm(p + at, 3.0))
        green = step(-0.55, -0.95, t) + 0.7 * step(0.72, 0.95, t) + max(0.0, 0.35 - ripe) * 1.6
        colour = mix(colour, rgb("#a9b53a"), np.clip(green, 0, 1) * 0.75)
        colour = mix(colour, rgb("#8a5f1c"), step(0.93, 1.0, ridge) * (0.15 + 0.45 * ripe) * noise(p + at, 4))
        colour = mix(colour, rgb("#4a2c12"), np.clip(ripe * 1.3 - 0.2, 0, 1) * specks(p + at, 5.5, 0.2) * 0.85)
        colour = mix(colour, rgb("#5a3413"), step(0.62, 0.75, fbm(p + at + 9, 2.6)) * ripe * 0.6)
        dark = step(0.95, 0.985, t + 0.02 * noise(p + at, 12)) + step(-1.14, -1.19, t)
        return mix(colour, rgb("#2b1c10"), np.clip(dark, 0, 1) * 0.95)

    return sdf, skin


def banana(rng, k):
    at, ripe, parts = somewhere(rng), pick(k, 0.35, 0.75, 0.15), []
    count = 3 if k % 3 == 2 else 1
    pivot = column(-1.5, 0.35, 0)
    for j in range(count):
        sdf, skin = finger(rng, at + 5 * j, ripe)
        lean = (j - (count - 1) / 2) * 0.32
        turn = rotation(lean * 0.8, lean * 0.5, lean * 0.55)
        shift = pivot - turn @ pivot
        parts.append(Part(moved(sdf, turn, shift), moved(skin, turn, shift), gloss=14, shine=0.12, wrap=0.35))
    return parts


def cherry(rng, k):
    at = somewhere(rng)
    body = Lathe(
        [0, 0.12, 0.4, 0.78, 0.92, 0.8, 0.45, 0],
        [0.62, 0.68, 0.8, 0.58, 0.05, -0.5, -0.82, -0.9],
    )
    dark, bright = pick(k, ("#4a0612", "#8f0f1e"), ("#6a0612", "#a81420"), ("#2f0510", "#6a0a1c"))
    dark, bright = rgb(dark), rgb(bright)
    skin = lambda p, n: mix(mix(dark, bright, fbm(p + at, 1.5)), rgb("#e07a50"), 0.25 * specks(p + at, 9, 0.1))
    parts, joint = [], column(rng.uniform(-0.2, 0.2), 1.6 if k % 2 == 0 else 1.5, 0)
    for side in (-1, 1) if k % 2 == 0 else (0,):
        place = column(side * 0.86, -0.55 + 0.2 * side * rng.uniform(-1, 1), side * rng.uniform(-0.3, 0.3))
        turn = rotation(rng.uniform(0, TAU), rng.uniform(-0.15, 0.15), -0.18 * side)
        wave = lumps(rng, 0.02)
        sdf = moved(lambda p, wave=wave: body(p, wave(p)), turn, place)
        parts.append(Part(sdf, moved(skin, turn, place), gloss=120, shine=0.75, wrap=0.25))
        top, sag = place + turn @ column(0, 0.6, 0), column(0.25 * (side or 1), 0.1, 0)
        path = [mix(top, joint, u) + sag * (4 * u * (1 - u)) for u in np.linspace(0, 1, 7)]
        parts.append(stalk([q[:, 0] for q in path], [0.05, 0.04, 0.036, 0.036, 0.036, 0.04, 0.06], rgb("#8a9440"), at))
    return parts


def bunch(rng, ball):
    """Centres for grapes of the radius `ball`: darts into a hanging cone, none nearer than most of a diameter."""
    centres = []
    while len(centres) < 46:
        spot = best = None
        for _ in range(200):
            y = rng.uniform(-1.15, 0.8)
            wide = 0.74 * np.clip((y + 1.45) / 1.5, 0.05, 1) * np.clip((1.25 - y) / 0.6, 0.4, 1)
            a, rho = rng.uniform(0, TAU), wide * np.sqrt(rng.random())
            c = np.array([rho * np.cos(a), y, rho * np.sin(a)])
            gap = min((np.linalg.norm(c - o) for o in centres), default=9.0)
            if gap > 1.55 * ball and (best is None or gap < best):
                spot, best = c, gap
        if spot is None:
            break
        centres.append(spot)
    return [column(*c) for c in centres]


def grape(rng, k):
    at, ball = somewhere(rng), rng.uniform(0.235, 0.265)
    pts = bunch(rng, ball)
    sizes = ball * rng.uniform(0.92, 1.08, len(pts))
    tone = rng.uniform(-1, 1, len(pts)).astype(np.float32)
    body, other, glow = pick(k, ("#4b1030", "#7a1f45", 0.5), ("#a8b84a", "#c9c25a", 0.6), ("#2a1440", "#4a2360", 0.4))
    body, other = rgb(body), rgb(other)

    def sdf(p):
        best = np.full(p.shape[1], 1e3, np.float32)
        for c, r in zip(pts, sizes):
            w = p - c
            best = np.minimum(best, np.sqrt(w[0] * w[0] + 0.8 * w[1] * w[1] + w[2] * w[2]) - r)
        return best

    def skin(p, n):
        gaps = np.stack([((p - c) ** 2).sum(0) for c in pts])
        mine = tone[np.argmin(gaps, axis=0)]
        colour = mix(body, other, np.clip(0.5 + 0.4 * mine + 0.8 * (fbm(p + at, 3.0) - 0.5), 0, 1))
        bloom = step(0.45, 0.8, fbm(p + at, 4.5)) * 0.3
        return mix(colour, rgb("#b9bccb") if k % 3 != 1 else rgb("#e6e8b8"), bloom)

    path = [(0, 0.2, 0), (0.02, 1.1, 0), (rng.uniform(-0.2, 0.2), 1.5, 0)]
    stem = stalk(path, [0.06, 0.055, 0.075], rgb("#7f7a3a"), at)
    bar = stalk([(-0.28, 1.5, 0.05), (0.0, 1.42, 0), (0.3, 1.5, -0.05)], [0.06, 0.06, 0.06], rgb("#75613a"), at)
    return [Part(sdf, skin, gloss=70, shine=0.45, wrap=0.45, glow=glow), stem, bar]


KIWI = Lathe(
    [0, 0.3, 0.62, 0.86, 0.9, 0.84, 0.6, 0.28, 0],
    [1.1, 1.08, 0.88, 0.42, -0.05, -0.5, -0.9, -1.08, -1.1],
)


def kiwi(rng, k):
    at, wave, squash = somewhere(rng), lumps(rng, 0.025), column(1, rng.uniform(0.95, 1.1), rng.uniform(0.88, 1.0))
    fuzz = lambda p: noise(p + at, column(24, 11, 24)) + 0.6 * noise(p + at, 37)
    sdf = lambda p: KIWI(p / squash, wave(p)) * 0.9 - 0.02 * noise(p + at, 19)

    def skin(p, n):
        light = np.clip(0.75 * fuzz(p) / 1.6 + 0.9 * (fbm(p + at, 2.2) - 0.35), 0, 1)
        end = step(0.2, 0.1, axial(p)) * step(0.7, 0.9, np.abs(p[1]))
        return mix(mix(rgb("#6b4a22"), rgb("#a5823f"), light), rgb("#3a2613"), end)

    nub = stalk([(0, -1.08 * squash[1, 0], 0), (0, -1.2 * squash[1, 0], 0)], [0.09, 0.05], rgb("#33220f"), at)
    return [Part(sdf, skin, bump=lambda p: 0.02 * fuzz(p), gloss=6, shine=0.05, wrap=0.3), nub]


def kiwi_half(rng, k):
    at, parts = somewhere(rng), kiwi(rng, k)
    outside, whole = parts[0], parts[0].sdf
    green, rows = rgb(pick(k, "#6f9a1c", "#84a824", "#5f8f1a")), rng.integers(24, 30)

    def flesh(p):
        r, a = axial(p) / 0.9, angle(p)
        ring = np.stack([np.cos(a), 0 * a, np.sin(a)])
        rays = noise(ring * 9 + at, 1.0) * 0.6 + noise(ring * 17 + at, 1.0) * 0.4
        colour = mix(green, rgb("#b9c95a"), step(0.75, 0.3, r) * (0.25 + 0.75 * rays))
        colour = mix(colour, green * 0.7, step(0.7, 0.95, r) * 0.6)
        colour = mix(colour, rgb("#dfdcae"), step(0.3, 0.2, r + 0.05 * noise(ring * 4 + at, 1.0)))
        for place, shift in ((0.40, 0.0), (0.52, 0.5)):
            turn = a * rows / TAU + shift
            cell = np.floor(turn)
            shake = noise(np.stack([cell * 1.7, cell * 0 + place * 50, cell * 0]) + at, 1.0)
            off = (turn - cell - 0.5) * TAU / rows * r
            seed = np.hypot((r - place - 0.09 * (shake - 0.5)) / 0.062, off / 0.026)
            colour = mix(colour, rgb("#14100c"), step(1.15, 0.8, seed))
        return mix(colour, rgb("#a7a24f"), step(0.95, 1.0, r))

    def skin(p, n):
        face = step(0.7, 0.9, n[1]) * (p[1] > -0.03) * (whole(p) < -0.03)
        return mix(outside.skin(p, n), flesh(p), face)

    wet = lambda p: 0.015 * fbm(p, 9, 2)
    half = Part(lambda p: np.maximum(whole(p), p[1]), skin, bump=wet, gloss=40, shine=0.08, wrap=0.2)
    return [half, *parts[1:]]


def segments(at, count, edge, pulp, pith, peel):
    """The cut face of a citrus fruit whose rind is at the radius `edge`, as a colour of points near y = 0."""

    def face(p):
        r, a = axial(p) / edge, angle(p)
        rim = np.stack([np.cos(a), 0 * a, np.sin(a)])
        turn = a * count / TAU + 0.5 * (noise(rim * 2 + at, 1.0) - 0.5)
        wall = np.abs(turn - np.round(turn)) * TAU / count * r
        curve = np.minimum(0.1, 0.55 * np.pi / count * r)  # segments have round corners
        corner = np.hypot(np.maximum(curve - wall, 0), np.maximum(curve - (0.885 - r), 0))
        inside = step(0.004, 0.022, curve - corner) * step(0.05, 0.1, r + 0.06 * noise(rim * 3 + at, 1.0))
        sacs = noise(rim * 17 + column(0, 3, 0) * r + at, 1.0) + noise(rim * 9 * r + column(0, 4, 0) * r + at, 2.0)
        flesh = pulp * (0.45 + 0.55 * sacs)
        flesh = mix(flesh, pith, 0.3 * step(0.62, 0.85, noise(rim * 23 + column(0, 5, 0) * r + at, 1.0)))
        return mix(mix(pith, flesh, inside), peel, step(0.94, 0.96, r))

    return face


def halved(part, face):
    """The lower half of a solid with bumps, with the colour `face` on the cut."""
    whole = part.sdf
    skin = lambda p, n: mix(part.skin(p, n), face(p), step(0.7, 0.9, n[1]) * (p[1] > -0.03))
    bump = lambda p: part.bump(p) * (p[1] < -0.04) + 0.02 * fbm(p, 9, 2) * (p[1] >= -0.04)
    return Part(lambda p: np.maximum(whole(p), p[1]), skin, bump=bump, gloss=40, shine=0.1, wrap=0.2)


def rind(body, rng, at, colour, pale):
    """The skin of a citrus fruit: pores, mottling, and a paler patch or two."""
    wave = lumps(rng, 0.018)
    pores = lambda p: specks(p + at, 12, 0.42) + specks(p + at + 3.1, 16, 0.42)

    def skin(p, n):
        tone = mix(colour, pale, step(0.35, 0.8, fbm(p + at, 1.6)))
        return tone * (1 - 0.07 * pores(p)) * (0.93 + 0.14 * noise(p + at, 9))

    bump = lambda p: 0.014 * fbm(p + at, 6) - 0.005 * pores(p)
    return Part(lambda p: body(p, wave(p)), skin, bump=bump, gloss=22, shine=0.28, wrap=0.3)


def orange(rng, k):
    at = somewhere(rng)
    body = Lathe(
        [0, 0.1, 0.4, 0.8, 0.97, 0.8, 0.4, 0.1, 0],
        [0.86, 0.88, 0.86, 0.55, 0, -0.56, -0.87, -0.9, -0.88],
    )
    colour, pale = rgb(pick(k, "#ec6a02", "#e86000", "#f07806")), rgb("#f28410")
    button = Part(blades(5, 0.865, 0.13, 0.12, 0.05, 0.02), plain(rgb("#6f7a3a"), at), shine=0.05)
    knob = stalk([(0, 0.84, 0), (0, 0.9, 0)], [0.06, 0.045], rgb("#a89a60"), at)
    navel = Part(lambda p: np.hypot(axial(p) - 0.09, p[1] + 0.885) - 0.02, plain(rgb("#c96a10"), at))
    return [rind(body, rng, at, colour, pale), button, knob, navel]


def orange_half(rng, k):
    at, whole = somewhere(rng), orange(rng, k)[0]
    return [halved(whole, segments(at, 10, 0.97, rgb("#f07808"), rgb("#f0d29a"), rgb("#f07a06")))]


def lemon_body(rng):
    """The solid, and how long this one is."""
    long = rng.uniform(0.96, 1.06)
    rho = [0, 0.1, 0.19, 0.42, 0.72, 0.85, 0.74, 0.46, 0.24, 0.13, 0]
    y = [1.28, 1.25, 1.08, 0.9, 0.55, 0, -0.52, -0.88, -1.06, -1.17, -1.19]
    return Lathe(rho, np.multiply(y, long)), long


def lemon(rng, k):
    at = somewhere(rng)
    body, long = lemon_body(rng)
    colour, pale = pick(k, ("#eec812", "#f7e04a"), ("#f0d01c", "#e6d53a"), ("#e4bd0e", "#f5d938"))
    end = stalk([(0, -1.15 * long, 0), (0, -1.22 * long, 0)], [0.085, 0.07], rgb("#7d7a3c"), at)
    return [rind(body, rng, at, rgb(colour), rgb(pale)), end]


def lemon_half(rng, k):
    at, body = somewhere(rng), lemon_body(rng)[0]
    whole = rind(body, rng, at, rgb("#f2cf1b"), rgb("#f7e04a"))
    return [halved(whole, segments(at, 9, 0.85, rgb("#d9bb2e"), rgb("#ece3b4"), rgb("#efc915")))]


def pear(rng, k):
    at, wave, sun = somewhere(rng), lumps(rng, 0.02), unit(column(rng.normal(), 0.2, rng.normal()))
    neck, lean = rng.uniform(0.9, 1.1), rng.uniform(-0.1, 0.1, 2)
    rho = [0, 0.1, 0.27, 0.37, 0.46, 0.68, 0.86, 0.88, 0.68, 0.36, 0.13, 0]
    y = [1.16, 1.2, 1.12, 0.85, 0.5, 0.12, -0.25, -0.62, -0.98, -1.14, -1.1, -1.03]
    body = Lathe(np.where(np.array(y) > 0.3, np.multiply(rho, neck), rho), y)

    def sdf(p):
        y2 = np.maximum(p[1] + 0.2, 0) ** 2
        q = np.stack([p[0] - lean[0] * y2, p[1], p[2] - lean[1] * y2])
        return body(q, wave(p)) * 0.95

    pale, ruddy, green = ("#b5b83a", "#c9b440", 0.4), ("#c9b23c", "#b4552a", 0.35), ("#8fa535", "#a9b03a", 0.4)
    base, blush, amount = pick(k, pale, ruddy, green)
    base, blush = rgb(base), rgb(blush)

    def skin(p, n):
        sunny = amount + 0.35 * (unit(p) * sun).sum(0) + 0.8 * (fbm(p + at, 1.4) - 0.5)
        colour = mix(base, blush, step(0.3, 0.8, sunny))
        colour = mix(colour, rgb("#7a5f2a"), 0.55 * specks(p + at, 10, 0.16) + 0.35 * specks(p + at + 5, 17, 0.2))
        russet = step(0.3, 0.08, axial(p) + 0.25 * noise(p + at, 7))
        russet = russet + 0.6 * step(0.66, 0.8, fbm(p + at + 20, 2.5))
        return mix(colour, rgb("#8a6a32"), np.clip(russet, 0, 1) * 0.75)

    tip = np.array([lean[0] * 1.9, 0, lean[1] * 1.9])
    bend = tip + [rng.uniform(-0.25, 0.25), 0, rng.uniform(-0.15, 0.15)]
    middle, end = (tip + bend) / 2, bend * [1.2, 0, 1]
    stem = stalk([tip + UP * 1.1, middle + UP * 1.4, end + UP * 1.66], [0.05, 0.04, 0.06], WOOD, at)
    calyx = Part(blades(5, -1.06, 0.17, 0.09, -1.0, 0.05), plain(rgb("#3f301c"), at), shine=0.0)
    return [Part(sdf, skin, gloss=20, shine=0.2, wrap=0.3), stem, calyx]


def pineapple(rng, k):
    at, turn = somewhere(rng), rng.uniform(0, TAU)
    body = Lathe(
        [0, 0.3, 0.56, 0.68, 0.7, 0.63, 0.42, 0],
        [0.84, 0.82, 0.62, 0.2, -0.2, -0.65, -0.93, -1],
    )
    spirals, pitch = 7, 3.0

    def eyes(p):
        """The diamonds of the shell: distance to the nearest furrow, distance to the middle, and which one it is."""
        u, v = (angle(p) + turn) * spirals / TAU, p[1] * pitch
        a, b = u + v, u - v
        fa, fb = np.abs(a - np.round(a)), np.abs(b - np.round(b))  # 0 in the middle of a diamond, 0.5 in a furrow
        return 0.5 - np.maximum(fa, fb), np.hypot(fa, fb), np.stack([np.round(a), np.round(b), 0 * a])

    def sdf(p):
        edge = eyes(p)[0]
        return (body(p) - 0.055 * np.sqrt(np.clip(edge * 2, 0, 1))) * 0.75

    ripe = pick(k, 0.75, 0.45, 0.6)

    def skin(p, n):
        edge, middle, cell = eyes(p)
        raw = np.clip(1 - ripe + 0.8 * (noise(cell + at, 0.37) - 0.5) + 0.35 * p[1], 0, 1)
        flat = mix(rgb("#c9861f"), rgb("#6f7a2e"), raw)
        colour = mix(rgb("#4a3216"), flat, step(0.0, 0.13, edge))
        colour = mix(colour, rgb("#e2b765"), 0.5 * step(0.26, 0.2, middle) * step(0.1, 0.16, middle))
        return mix(colour, rgb("#3d2a16"), step(0.12, 0.06, middle) * 0.85) * (0.85 + 0.3 * noise(p + at, 12))

    parts = [Part(sdf, skin, gloss=18, shine=0.15, wrap=0.25)]
    green = mix(rgb("#3f6a35"), rgb("#5f8a4a"), rng.random())
    leaf = lambda p, n: green * (0.65 + 0.7 * fbm(p * column(1, 0.3, 1) + at, 6)) * (0.7 + 0.5 * step(0.7, 1.6, p[1]))
    for count, length, rise, curl, start in (
        (9, 0.6, 0.55, -0.14, 0.12),
        (8, 0.85, 0.95, -0.2, 0.08),
        (7, 1.05, 1.2, -0.2, 0.04),
        (5, 1.1, 1.42, -0.1, 0.0),
    ):
        long = length * rng.uniform(0.92, 1.08)
        ring = blades(count, 0.82, long, 0.13, rise, curl, 0.018, rng.uniform(0, TAU), start)
        parts.append(Part(ring, leaf, gloss=25, shine=0.12, wrap=0.3))
    return parts


def strawberry(rng, k):
    at, wave = somewhere(rng), lumps(rng, 0.03)
    tip, wide = rng.uniform(0.92, 1.08), rng.uniform(0.92, 1.06)
    rho = [0, 0.3, 0.66, 0.84, 0.8, 0.62, 0.36, 0.14, 0]
    y = [0.74, 0.82, 0.7, 0.38, 0, -0.45, -0.88, -1.12, -1.17]
    body = Lathe(np.multiply(rho, wide), np.where(np.array(y) < 0, np.multiply(y, tip), y))
    pitch, first = 0.185, -1.2
    heights = first + pitch * (np.arange(14) + 0.5)
    around = np.maximum(4, np.round(TAU * body.width(heights) / 0.27)).astype(np.float32)

    def seeds(p):
        """Distance to the nearest seed, in object units, as (across, along)."""
        v = (p[1] - first) / pitch
        row = np.clip(np.floor(v), 0, 13).astype(np.int32)
        u = (angle(p) + 1.3 * row) * around[row] / TAU
        across = (u - np.floor(u) - 0.5) * TAU / around[row] * axial(p)
        return across, (v - row - 0.5) * pitch * 1.15

    def bump(p):
        d = np.hypot(*seeds(p))
        return -0.045 * np.exp(-((d / 0.062) ** 2)) + 0.022 * step(0.05, 0.02, d) + 0.01 * noise(p + at, 9)

    def skin(p, n):
        across, along = seeds(p)
        colour = mix(rgb("#b30810"), rgb("#d42015"), fbm(p + at, 2.0))
        colour = mix(colour, rgb("#8d0a12"), 0.5 * step(0.12, 0.05, np.hypot(across, along)))
        shoulder = step(0.45, 0.85, p[1] + 0.3 * (fbm(p + at, 3.0) - 0.5))
        colour = mix(colour, rgb("#f0b48a"), shoulder * pick(k, 0.25, 0.7, 0.1))
        return mix(colour, rgb("#ecc95c"), step(1.2, 0.8, np.hypot(across / 0.024, along / 0.042)))

    sepal = lambda p, n: mix(rgb("#3f7a22"), rgb("#7fae3f"), fbm(p + at, 4.0))
    parts = [Part(lambda p: body(p, wave(p)), skin, bump=bump, gloss=60, shine=0.4, wrap=0.2)]
    for length, rise, curl in ((0.78, -0.1, 0.05), (0.6, 0.18, 0.25)):
        count, long = rng.integers(6, 9), length * rng.uniform(0.9, 1.1)
        ring = blades(count, 0.85, long, 0.2, rise, curl, 0.022, rng.uniform(0, TAU))
        parts.append(Part(ring, sepal, gloss=20, shine=0.1, wrap=0.3))
    bend = rng.uniform(-0.2, 0.2)
    parts.append(stalk([(0, 0.75, 0), (bend / 2, 1.0, 0), (bend, 1.2, 0)], [0.06, 0.05, 0.05], rgb("#7fa045"), at))
    return parts


def tomato(rng, k):
    at, wave, lobes = somewhere(rng), lumps(rng, 0.02), rng.integers(5, 8)
    body = Lathe(
        [0, 0.2, 0.5, 0.86, 1, 0.88, 0.5, 0],
        [0.62, 0.7, 0.74, 0.48, 0, -0.45, -0.74, -0.8],
    )
    ridge = lambda p: 0.02 * np.cos(lobes * angle(p) + at[0]) * step(0.0, 0.8, p[1])
    red, warm = rgb(pick(k, "#c81a0c", "#d2280e", "#b8140c")), rgb(pick(k, "#d8340f", "#dc4412", "#cc2410"))

    def skin(p, n):
        colour = mix(red, warm, fbm(p + at, 1.4))
        shoulder = step(0.5, 0.1, axial(p) + 0.2 * noise(p + at, 3)) * step(0.3, 0.6, p[1])
        return mix(colour, rgb("#d99a35"), shoulder * 0.5)

    star = blades(rng.integers(5, 7), 0.68, 0.62, 0.16, 0.1, 0.22, 0.025, rng.uniform(0, TAU))
    bend = rng.uniform(-0.15, 0.15, 2)
    path = [(0, 0.6, 0), (bend[0], 0.88, 0), (2 * bend[0], 1.08, bend[1])]
    stem = stalk(path, [0.07, 0.055, 0.065], rgb("#5f8a35"), at)
    berry = Part(lambda p: body(p, wave(p) + ridge(p)), skin, gloss=90, shine=0.6, wrap=0.3)
    return [berry, Part(star, plain(LEAF, at), shine=0.1), stem]
