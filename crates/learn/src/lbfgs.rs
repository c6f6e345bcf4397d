//! Limited-memory BFGS without bounds, after scipy's `minimize(method="L-BFGS-B")`: the same first step, memory, line
//! search and stopping tests, so that its steps differ by rounding only.
//!
//! Byrd, Lu, Nocedal and Zhu, "A limited memory algorithm for bound constrained optimization", 1995; without bounds its
//! search direction is that of Nocedal's two loops with H₀ = (yᵀs / yᵀy) I. All in `f64`, as scipy has it.

mod search;

use std::collections::VecDeque;
use std::ops::ControlFlow;

use search::{LineSearch, Told};

/// The number of corrections that are stored: scipy's `maxcor`.
const MEMORY: usize = 10;

/// The limits at which the iteration stops.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most iterations.
    pub max_iter: usize,
    /// The most evaluations of the function, checked between iterations.
    pub max_fun: usize,
    /// Most evaluations of one line search.
    pub max_line_search: usize,
    /// It has converged when no component of the gradient is larger.
    pub gtol: f64,
    /// It has converged when an iteration lowers the value by at most this, relative to the larger of its magnitude and
    /// 1.
    pub ftol: f64,
}

/// The reason why the iteration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It fulfilled `gtol` or `ftol`.
    Converged,
    /// It reached `max_iter`.
    MaxIter,
    /// It reached `max_fun`.
    MaxFun,
    /// The line search finds no lower value along the gradient, because of rounding errors. scipy calls this an
    /// "abnormal termination" and not a success.
    Stuck,
}

/// The point where the iteration ended.
#[derive(Clone, Debug)]
pub struct Minimum {
    pub x: Vec<f64>,
    pub value: f64,
    pub iterations: usize,
    pub end: End,
}

/// The caller's function: it returns its value at a point and writes its gradient there; it may fail.
pub type Evaluate<'a, E> = &'a mut dyn FnMut(&[f64], &mut [f64]) -> Result<f64, E>;

/// Called with the number (1 for the first) and the value of every iteration.
pub type OnIteration<'a, E> = &'a mut dyn FnMut(usize, f64) -> ControlFlow<E>;

/// A step, and the change of the gradient over it.
struct Correction {
    step: Vec<f64>,
    change: Vec<f64>,
    /// stepᵀ change
    product: f64,
}

/// Minimises from `x` on. `evaluate` returns the value and writes the gradient.
pub fn minimize<E>(
    mut x: Vec<f64>,
    limits: Limits,
    evaluate: Evaluate<E>,
    on_iteration: OnIteration<E>,
) -> Result<Minimum, E> {
    let mut gradient = vec![0.0; x.len()];
    let mut value = evaluate(&x, &mut gradient)?;
    let (mut iterations, mut evaluations) = (0, 1);
    let mut memory: VecDeque<Correction> = VecDeque::with_capacity(MEMORY);
    let end = loop {
        if largest(&gradient) <= limits.gtol {
            break End::Converged;
        }
        if iterations >= limits.max_iter {
            break End::MaxIter;
        }
        if evaluations > limits.max_fun {
            break End::MaxFun;
        }
        let direction = direction(&gradient, &memory);
        let first = if iterations == 0 { (1.0 / dot(&direction, &direction).sqrt()).min(1.0e10) } else { 1.0 };
        let start = Point { x: &x, value, gradient: &gradient };
        let found = along(start, &direction, first, limits.max_line_search, &mut evaluations, evaluate)?;
        let Some(next) = found else {
            if memory.is_empty() {
                break End::Stuck;
            }
            // The stored corrections give no descent, so they are dropped and the next step follows the gradient.
            memory.clear();
            continue;
        };
        remember(&mut memory, &gradient, &direction, &next);
        let before = value;
        (x, value, gradient) = (next.x, next.value, next.gradient);
        iterations += 1;
        if let ControlFlow::Break(error) = on_iteration(iterations, value) {
            return Err(error);
        }
        if largest(&gradient) > limits.gtol && before - value <= limits.ftol * before.abs().max(value.abs()).max(1.0) {
            break End::Converged;
        }
    };
    Ok(Minimum { x, value, iterations, end })
}

struct Point<'a> {
    x: &'a [f64],
    value: f64,
    gradient: &'a [f64],
}

struct Next {
    x: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
    /// Length of the step in units of the direction.
    length: f64,
}

/// Searches along `direction` for a point that fulfils the conditions of the line search; none where it finds none.
fn along<E>(
    start: Point,
    direction: &[f64],
    first: f64,
    most: usize,
    evaluations: &mut usize,
    evaluate: Evaluate<E>,
) -> Result<Option<Next>, E> {
    let slope = dot(start.gradient, direction);
    if slope >= 0.0 {
        return Ok(None);
    }
    let mut search = LineSearch::new(start.value, slope, first);
    let mut gradient = vec![0.0; direction.len()];
    let mut length = first;
    for _ in 0..most {
        let x: Vec<f64> = start.x.iter().zip(direction).map(|(x, d)| x + length * d).collect();
        let value = evaluate(&x, &mut gradient)?;
        *evaluations += 1;
        match search.tell(length, value, dot(&gradient, direction)) {
            Told::Try(next) => length = next,
            Told::Done => return Ok(Some(Next { x, value, gradient, length })),
        }
    }
    Ok(None)
}

/// Stores the correction of a step, unless the function is not convex along it.
fn remember(memory: &mut VecDeque<Correction>, before: &[f64], direction: &[f64], next: &Next) {
    let change: Vec<f64> = next.gradient.iter().zip(before).map(|(after, before)| after - before).collect();
    let product = next.length * dot(&change, direction);
    let slope = -next.length * dot(before, direction);
    if product <= f64::EPSILON * slope {
        return;
    }
    if memory.len() == MEMORY {
        memory.pop_front();
    }
    let step = direction.iter().map(|d| next.length * d).collect();
    memory.push_back(Correction { step, change, product });
}

/// −H g
fn direction(gradient: &[f64], memory: &VecDeque<Correction>) -> Vec<f64> {
    let mut q: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut weights = Vec::with_capacity(memory.len());
    for correction in memory.iter().rev() {
        let weight = dot(&correction.step, &q) / correction.product;
        add(&mut q, -weight, &correction.change);
        weights.push(weight);
    }
    if let Some(last) = memory.back() {
        let scale = last.product / dot(&last.change, &last.change);
        q.iter_mut().for_each(|q| *q *= scale);
    }
    for (correction, weight) in memory.iter().zip(weights.into_iter().rev()) {
        let other = dot(&correction.change, &q) / correction.product;
        add(&mut q, weight - other, &correction.step);
    }
    q
}

fn largest(values: &[f64]) -> f64 {
    // A NaN counts as infinite, because it is no convergence.
    values.iter().fold(0.0, |most: f64, v| if v.is_nan() { f64::INFINITY } else { most.max(v.abs()) })
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    // Four partial sums in a fixed order, which the compiler vectorises.
    let (left, right) = (a.chunks_exact(4), b.chunks_exact(4));
    let rest: f64 = left.remainder().iter().zip(right.remainder()).map(|(a, b)| a * b).sum();
    let mut sums = [0.0; 4];
    for (a, b) in left.zip(right) {
        for i in 0..4 {
            sums[i] += a[i] * b[i];
        }
    }
    sums[0] + sums[1] + (sums[2] + sums[3]) + rest
}

fn add(to: &mut [f64], scale: f64, other: &[f64]) {
    to.iter_mut().zip(other).for_each(|(to, other)| *to += scale * other);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    /// Rosenbrock's valley in many dimensions, as `scipy.optimize.rosen`.
    fn rosen(x: &[f64], gradient: &mut [f64]) -> Result<f64, ()> {
        gradient.fill(0.0);
        let mut value = 0.0;
        for i in 0..x.len() - 1 {
            let (a, b) = (x[i + 1] - x[i] * x[i], 1.0 - x[i]);
            value += 100.0 * a * a + b * b;
            gradient[i] += -400.0 * a * x[i] - 2.0 * b;
            gradient[i + 1] += 200.0 * a;
        }
        Ok(value)
    }

    #[test]
    fn steps_are_those_of_scipy() {
        let golden = golden::load("classifiers");
        let case = &golden["lbfgs"];
        let limits = Limits { max_iter: 500, max_fun: 15_000, max_line_search: 20, gtol: 1e-6, ftol: 2.22e-9 };
        let mut values = Vec::new();
        let mut heard = |_: usize, value: f64| {
            values.push(value);
            ControlFlow::Continue(())
        };
        let found = minimize(golden::vector(&case["start"]), limits, &mut rosen, &mut heard).expect("a minimum");
        assert_eq!(found.end, End::Converged);
        assert_eq!(found.iterations, golden::count(&case["iterations"]));
        // rounding grows from step to step in a curved valley
        let expected = golden::vector(&case["values"]);
        golden::close(&values[..20], &expected[..20], 1e-9);
        golden::close(&values[20..40], &expected[20..40], 1e-4);
        assert!(found.x.iter().all(|x| (x - 1.0).abs() < 1e-4), "{:?}", found.x);
    }

    #[test]
    fn a_function_that_cannot_be_lowered_is_an_end() {
        let limits = Limits { max_iter: 50, max_fun: 500, max_line_search: 20, gtol: 1e-8, ftol: 1e-12 };
        let mut flat = |_: &[f64], gradient: &mut [f64]| {
            gradient.fill(1.0); // the true gradient is 0
            Ok::<f64, ()>(3.0)
        };
        let found = minimize(vec![0.0; 3], limits, &mut flat, &mut |_, _| ControlFlow::Continue(())).expect("an end");
        assert_eq!((found.end, found.value), (End::Stuck, 3.0));
    }

    #[test]
    fn limits_and_listeners_stop_it() {
        let limits = Limits { max_iter: 3, max_fun: 15_000, max_line_search: 20, gtol: 1e-6, ftol: 1e-12 };
        let found = minimize(vec![-1.2, 1.0], limits, &mut rosen, &mut |_, _| ControlFlow::Continue(()));
        let found = found.expect("an end");
        assert_eq!((found.end, found.iterations), (End::MaxIter, 3));
        let few = Limits { max_iter: 100, max_fun: 5, ..limits };
        let found = minimize(vec![-1.2, 1.0], few, &mut rosen, &mut |_, _| ControlFlow::Continue(())).expect("an end");
        assert_eq!(found.end, End::MaxFun);
        let stopped = minimize(vec![-1.2, 1.0], limits, &mut rosen, &mut |at, _| {
            if at == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(stopped.is_err());
    }
}
