//! Searches for a step length with a sufficient decrease of the function and of its slope: Moré and Thuente, "Line
//! search algorithms with guaranteed sufficient decrease", 1994, in the form of MINPACK-2's `dcsrch` and `dcstep` with
//! the constants of L-BFGS-B.

/// The tolerance of the condition of sufficient decrease.
const FTOL: f64 = 1e-3;
/// The tolerance of the curvature condition.
const GTOL: f64 = 0.9;
/// The relative width of the interval below which the search ends.
const XTOL: f64 = 0.1;
const LONGEST: f64 = 1e10;

/// A length with the value and the slope there.
#[derive(Clone, Copy, Debug)]
struct At {
    length: f64,
    value: f64,
    slope: f64,
}

/// The state of the search.
#[derive(Debug)]
pub(super) struct LineSearch {
    start: At,
    /// The best length so far, one end of the interval.
    best: At,
    other: At,
    bracketed: bool,
    /// True until a length gives the sufficient decrease and a slope of at least 0: the first stage of `dcsrch`.
    first_stage: bool,
    widths: [f64; 2],
    low: f64,
    high: f64,
}

/// The decision of the search after an evaluation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Told {
    /// The length fulfils the conditions, or no better one can be found.
    Done,
    /// The length to evaluate next.
    Try(f64),
}

impl LineSearch {
    /// Starts from a point of this value and (negative) slope; `first` is the first length that will be tried.
    pub(super) fn new(value: f64, slope: f64, first: f64) -> Self {
        let start = At { length: 0.0, value, slope };
        Self {
            start,
            best: start,
            other: start,
            bracketed: false,
            first_stage: true,
            widths: [LONGEST, 2.0 * LONGEST],
            low: 0.0,
            high: first + 4.0 * first,
        }
    }

    /// Decides what follows after the function has this value and slope at `length`.
    pub(super) fn tell(&mut self, length: f64, value: f64, slope: f64) -> Told {
        let tested = FTOL * self.start.slope;
        let allowed = self.start.value + length * tested;
        if self.first_stage && value <= allowed && slope >= 0.0 {
            self.first_stage = false;
        }
        let rounding = self.bracketed && (length <= self.low || length >= self.high);
        let narrow = self.bracketed && self.high - self.low <= XTOL * self.high;
        let longest = length == LONGEST && value <= allowed && slope <= tested;
        let shortest = length == 0.0 && (value > allowed || slope >= tested);
        let converged = value <= allowed && slope.abs() <= GTOL * -self.start.slope;
        if rounding || narrow || longest || shortest || converged {
            return Told::Done;
        }
        let here = At { length, value, slope };
        let next = if self.first_stage && value <= self.best.value && value > allowed {
            // The first stage works on the function minus the demanded decrease.
            let less = |at: At| At { value: at.value - at.length * tested, slope: at.slope - tested, ..at };
            let more = |at: At| At { value: at.value + at.length * tested, slope: at.slope + tested, ..at };
            (self.best, self.other) = (less(self.best), less(self.other));
            let next = self.step(less(here));
            (self.best, self.other) = (more(self.best), more(self.other));
            next
        } else {
            self.step(here)
        };
        Told::Try(self.narrow(next))
    }

    /// Clamps the next length to the interval, and makes sure that the interval shrinks.
    fn narrow(&mut self, mut next: f64) -> f64 {
        let (best, other) = (self.best.length, self.other.length);
        if self.bracketed {
            if (other - best).abs() >= 0.66 * self.widths[1] {
                next = best + 0.5 * (other - best);
            }
            self.widths = [(other - best).abs(), self.widths[0]];
            (self.low, self.high) = (best.min(other), best.max(other));
        } else {
            (self.low, self.high) = (next + 1.1 * (next - best), next + 4.0 * (next - best));
        }
        next = next.clamp(0.0, LONGEST);
        let hopeless = next <= self.low || next >= self.high || self.high - self.low <= XTOL * self.high;
        if self.bracketed && hopeless { best } else { next }
    }

    /// `dcstep`: the minimum of a cubic or a straight line through the known points, and the interval around it.
    fn step(&mut self, here: At) -> f64 {
        let (best, other) = (self.best, self.other);
        let opposite = here.slope * (best.slope / best.slope.abs()) < 0.0;
        let next = if here.value > best.value {
            self.bracketed = true;
            higher(best, here)
        } else if opposite {
            self.bracketed = true;
            let (cubic, secant) = (cubic(here, best), secant(best, here));
            if (cubic - here.length).abs() > (secant - here.length).abs() { cubic } else { secant }
        } else if here.slope.abs() < best.slope.abs() {
            self.flatter(here)
        } else if self.bracketed {
            cubic(here, other)
        } else if here.length > best.length {
            self.high
        } else {
            self.low
        };
        if here.value > best.value {
            self.other = here;
        } else {
            if opposite {
                self.other = best;
            }
            self.best = here;
        }
        next
    }

    /// The third case of `dcstep`: a lower value, and a smaller slope of the same sign. The cubic may have no minimum
    /// beyond.
    fn flatter(&self, here: At) -> f64 {
        let best = self.best;
        let (theta, mut gamma) = cubic_terms(best, here);
        if here.length > best.length {
            gamma = -gamma;
        }
        let p = (gamma - here.slope) + theta;
        let q = (gamma + (best.slope - here.slope)) + gamma;
        let r = p / q;
        let cubic = if r < 0.0 && gamma != 0.0 {
            here.length + r * (best.length - here.length)
        } else if here.length > best.length {
            self.high
        } else {
            self.low
        };
        let secant = secant(best, here);
        let (cubic_off, secant_off) = ((cubic - here.length).abs(), (secant - here.length).abs());
        if self.bracketed {
            let next = if cubic_off < secant_off { cubic } else { secant };
            let bound = here.length + 0.66 * (self.other.length - here.length);
            if here.length > best.length { next.min(bound) } else { next.max(bound) }
        } else {
            let next = if cubic_off > secant_off { cubic } else { secant };
            next.clamp(self.low, self.high)
        }
    }
}

/// θ and |γ| of the cubic through two points, by the names of `dcstep`. γ is 0 where the cubic has no minimum.
fn cubic_terms(one: At, other: At) -> (f64, f64) {
    let theta = 3.0 * (one.value - other.value) / (other.length - one.length) + one.slope + other.slope;
    let s = theta.abs().max(one.slope.abs()).max(other.slope.abs());
    (theta, s * ((theta / s).powi(2) - (one.slope / s) * (other.slope / s)).max(0.0).sqrt())
}

/// The first case of `dcstep`: a higher value, so a minimum lies between the two points.
fn higher(best: At, here: At) -> f64 {
    let (theta, mut gamma) = cubic_terms(best, here);
    if here.length < best.length {
        gamma = -gamma;
    }
    let r = ((gamma - best.slope) + theta) / (((gamma - best.slope) + gamma) + here.slope);
    let cubic = best.length + r * (here.length - best.length);
    let quadratic = best.length
        + ((best.slope / ((best.value - here.value) / (here.length - best.length) + best.slope)) / 2.0)
            * (here.length - best.length);
    if (cubic - best.length).abs() < (quadratic - best.length).abs() {
        cubic
    } else {
        cubic + (quadratic - cubic) / 2.0
    }
}

/// The minimum of the cubic through two points, seen from `here`.
fn cubic(here: At, from: At) -> f64 {
    let (theta, mut gamma) = cubic_terms(from, here);
    if here.length > from.length {
        gamma = -gamma;
    }
    let r = ((gamma - here.slope) + theta) / (((gamma - here.slope) + gamma) + from.slope);
    here.length + r * (from.length - here.length)
}

/// Returns the length at which the slope would be 0 if it were linear.
fn secant(best: At, here: At) -> f64 {
    here.length + (here.slope / (here.slope - best.slope)) * (best.length - here.length)
}
