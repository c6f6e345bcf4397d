//! Adam and SGD in scikit-learn's form, changing parameters in place.
//!
//! candle's own optimizers do not do: its SGD has no momentum, its AdamW corrects the moments instead of the learning rate
//! (which moves epsilon) and decays weights on its own. Each rule here is one pass over the numbers.

use candle_core::{CpuStorage, InplaceOp2, InplaceOp3, Layout, Result, Tensor, bail};

use super::network::{Gradients, Parameters};
use super::{MlpParams, Schedule, Solver};

/// `f(&mut a, b)` for every pair of values of two tensors of one shape.
pub struct Each2<F>(pub F);

/// `f(&mut a, b, c)` for every three values of three tensors of one shape.
struct Each3<F>(F);

impl<F: Fn(&mut f32, f32)> InplaceOp2 for Each2<F> {
    fn name(&self) -> &'static str {
        "each-2"
    }

    fn cpu_fwd(&self, a: &mut CpuStorage, a_layout: &Layout, b: &CpuStorage, b_layout: &Layout) -> Result<()> {
        let (a, b) = (values_mut(a, a_layout)?, values(b, b_layout)?);
        a.iter_mut().zip(b).for_each(|(a, &b)| (self.0)(a, b));
        Ok(())
    }
}

impl<F: Fn(&mut f32, f32, f32)> InplaceOp3 for Each3<F> {
    fn name(&self) -> &'static str {
        "each-3"
    }

    fn cpu_fwd(
        &self,
        a: &mut CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
        c: &CpuStorage,
        c_layout: &Layout,
    ) -> Result<()> {
        let (a, b, c) = (values_mut(a, a_layout)?, values(b, b_layout)?, values(c, c_layout)?);
        a.iter_mut().zip(b).zip(c).for_each(|((a, &b), &c)| (self.0)(a, b, c));
        Ok(())
    }
}

fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&values[start..end]),
        _ => bail!("expected a contiguous f32 tensor"),
    }
}

fn values_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&mut values[start..end]),
        _ => bail!("expected a contiguous f32 tensor"),
    }
}

/// An optimizer and what it remembers of every parameter.
pub struct Optimizer {
    rule: Rule,
    learning_rate: f64,
    learning_rate_init: f64,
    schedule: Schedule,
    power_t: f64,
    memories: Vec<Memory>,
}

enum Rule {
    Adam { beta_1: f64, beta_2: f64, epsilon: f64, step: i32 },
    Sgd { momentum: f64, nesterov: bool },
}

/// One parameter tensor with its running averages of the same shape.
struct Memory {
    parameter: Tensor,
    /// First moment, or velocity.
    first: Tensor,
    /// Second moment; Adam only.
    second: Option<Tensor>,
}

impl Optimizer {
    /// Starts with empty memories of `parameters`.
    pub fn new(params: &MlpParams, parameters: Vec<Parameters>) -> Result<Self> {
        let rule = match params.solver {
            Solver::Adam => {
                Rule::Adam { beta_1: params.beta_1, beta_2: params.beta_2, epsilon: params.epsilon, step: 0 }
            }
            Solver::Sgd | Solver::Lbfgs => Rule::Sgd { momentum: params.momentum, nesterov: params.nesterovs_momentum },
        };
        let adam = params.solver == Solver::Adam;
        let memory = |parameter: Tensor| {
            let first = parameter.zeros_like()?;
            let second = if adam { Some(parameter.zeros_like()?) } else { None };
            Ok(Memory { parameter, first, second })
        };
        Ok(Self {
            rule,
            learning_rate: params.learning_rate_init,
            learning_rate_init: params.learning_rate_init,
            // scikit-learn's Adam knows no schedule
            schedule: if adam { Schedule::Constant } else { params.learning_rate },
            power_t: params.power_t,
            memories: parameters.into_iter().flat_map(|p| [p.weights, p.bias]).map(memory).collect::<Result<_>>()?,
        })
    }

    /// One step against the gradients, which are in the order of the parameters.
    pub fn step(&mut self, gradients: &[Gradients]) -> Result<()> {
        if let Rule::Adam { beta_1, beta_2, step, .. } = &mut self.rule {
            *step += 1;
            self.learning_rate =
                self.learning_rate_init * (1.0 - beta_2.powi(*step)).sqrt() / (1.0 - beta_1.powi(*step));
        }
        let gradients = gradients.iter().flat_map(|g| [&g.weights, &g.bias]);
        self.memories.iter().zip(gradients).try_for_each(|(memory, gradient)| self.update(memory, gradient))
    }

    fn update(&self, memory: &Memory, gradient: &Tensor) -> Result<()> {
        let Memory { parameter, first, second } = memory;
        let rate = self.learning_rate as f32;
        match (&self.rule, second) {
            (Rule::Adam { beta_1, beta_2, epsilon, .. }, Some(second)) => {
                let (keep, add) = (*beta_1 as f32, (1.0 - beta_1) as f32);
                first.inplace_op2(gradient, &Each2(move |m: &mut f32, g| *m = keep * *m + add * g))?;
                let (keep, add) = (*beta_2 as f32, (1.0 - beta_2) as f32);
                second.inplace_op2(gradient, &Each2(move |v: &mut f32, g| *v = keep * *v + add * (g * g)))?;
                let epsilon = *epsilon as f32;
                let rule = Each3(move |p: &mut f32, m, v: f32| *p += -rate * m / (v.sqrt() + epsilon));
                parameter.inplace_op3(first, second, &rule)
            }
            (Rule::Sgd { momentum, nesterov }, _) => {
                let momentum = *momentum as f32;
                first.inplace_op2(gradient, &Each2(move |v: &mut f32, g| *v = momentum * *v - rate * g))?;
                if *nesterov {
                    parameter.inplace_op3(
                        first,
                        gradient,
                        &Each3(move |p: &mut f32, v, g| *p += momentum * v - rate * g),
                    )
                } else {
                    parameter.inplace_op2(first, &Each2(|p: &mut f32, v| *p += v))
                }
            }
            (Rule::Adam { .. }, None) => bail!("adam without second moments"),
        }
    }

    /// After an epoch; `samples` have been trained on since the beginning.
    pub fn epoch_ends(&mut self, samples: usize) {
        if self.schedule == Schedule::InvScaling {
            self.learning_rate = self.learning_rate_init / (samples as f64 + 1.0).powf(self.power_t);
        }
    }

    /// Whether training that no longer improves is over; if not, the learning rate was lowered to try on.
    pub fn gives_up(&mut self) -> bool {
        if self.schedule != Schedule::Adaptive || self.learning_rate <= 1e-6 {
            return true;
        }
        self.learning_rate /= 5.0;
        false
    }
}
