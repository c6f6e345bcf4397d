//! Tests which sums lie at one of their terms, that every step finds the values that it reads, and that the results do
//! not depend on where a sum lies.

use proptest::prelude::*;

use super::*;
use crate::exec::Precision;
use crate::exec::cpu::Engine;
use crate::exec::cpu::network::{MICRO_BATCH, Network, fuse, maps_of};
use crate::exec::lower::{Program, lower};
use crate::models::builder::{Builder, Conv, Pool};
use crate::models::graph::Graph;
use crate::models::{LayerId, Shape, Source};
use crate::weights::Origin;
use featurize_kernels::peak::noise;
use featurize_kernels::simd::Isa;

fn lowered(graph: &Graph, taps: &[LayerId]) -> Program {
    let weights = Origin::Random(1).load(graph, Source::Timm, &[]).expect("random");
    lower(graph, &weights, taps).expect("lowered")
}

/// Steps, and the plan of their values.
struct Placed {
    steps: Vec<Fused>,
    plan: MemoryPlan,
    taps: Vec<usize>,
}

/// The tests fill buffers with cells instead of numbers. A cell names the picture, the value and the channel at its
/// place; none is a zero of the halo. A concatenation has the cells of its terms.
type Cell = Option<[usize; 3]>;

impl Placed {
    fn new(graph: &Graph, taps: &[LayerId]) -> Self {
        let program = lowered(graph, taps);
        let (taps, input) = (program.taps.clone(), Map::of(program.input_shape));
        let steps = fuse(program, Engine::Vectors(Isa::Portable));
        let plan = plan(&steps, &taps, maps_of(&steps, input), MICRO_BATCH, false);
        Self { steps, plan, taps }
    }

    /// The term that lies at the output of a step, or the map that it multiplies in place.
    fn under(&self, fused: &Fused) -> Option<usize> {
        let (maps, output) = (&self.plan.maps, fused.step.output);
        let sum = |value: &usize| match fused.step.kernel {
            Kernel::Add => true,
            Kernel::Multiply => *value == fused.step.inputs[0],
            _ => fused.added == Some(*value),
        };
        fused.inputs().into_iter().find(|value| sum(value) && maps[*value] == maps[output])
    }

    /// The sums that lie at a term, and those that do not, each by the layer of its step.
    fn sums(&self) -> [Vec<&str>; 2] {
        let sums = self.steps.iter().filter(|fused| fused.added.is_some() || matches!(fused.step.kernel, Kernel::Add));
        let (onto, apart): (Vec<_>, Vec<_>) = sums.partition(|fused| self.under(fused).is_some());
        [onto, apart].map(|sums| sums.into_iter().map(|fused| fused.step.layer.as_str()).collect())
    }

    fn cell(&self, picture: usize, value: usize, mut channel: usize) -> Cell {
        let of = self.steps.iter().find(|fused| fused.step.output == value);
        if let Some(Fused { step, .. }) = of
            && let Kernel::Concat = step.kernel
        {
            for &term in &step.inputs {
                let c = self.plan.maps[term].c;
                if channel < c {
                    return self.cell(picture, term, channel);
                }
                channel -= c;
            }
        }
        Some([picture, value, channel])
    }

    /// The places of the values of a map, and the cells that belong there.
    fn cells(&self, p: usize, picture: usize, value: usize) -> Vec<(usize, Cell)> {
        let map = self.plan.maps[value];
        let channels: Vec<Cell> = (0..map.c).map(|channel| self.cell(picture, value, channel)).collect();
        map.runs(false).flat_map(|run| run.map(|at| at + map.base(p)).zip(channels.iter().copied())).collect()
    }

    /// Runs the plan for two micro-batches of cells; panics where a step finds other cells than those of the value that
    /// it reads.
    fn check(&self) {
        let MemoryPlan { maps, buffers, cut, clears, .. } = &self.plan;
        let mut held: Vec<Vec<Cell>> = buffers.iter().map(|&len| vec![Some([usize::MAX; 3]); len]).collect();
        let step = |i: usize, p: usize, picture: usize, held: &mut [Vec<Cell>]| {
            let Fused { step, .. } = &self.steps[i];
            let (to, layer) = (maps[step.output], &step.layer);
            let mut zeros: Vec<Cell> = held[to.buffer][to.base(p)..].to_vec();
            if clears[i] {
                to.clear_halo(&mut zeros);
                held[to.buffer][to.base(p)..].copy_from_slice(&zeros);
            }
            for value in self.steps[i].inputs() {
                let buffer = &held[maps[value].buffer];
                let found = self.cells(p, picture, value).iter().all(|&(at, cell)| buffer[at] == cell);
                assert!(found, "{layer}: picture {picture}: value {value} is not where it was written");
                let shared = maps[value].buffer == to.buffer && !matches!(step.kernel, Kernel::Concat);
                assert!(!shared || self.under(&self.steps[i]) == Some(value), "{layer} writes into what it reads");
            }
            let from = maps[step.inputs[0]];
            if let Kernel::Conv { window, .. } = &step.kernel {
                let mut around = held[from.buffer][from.base(p)..][..from.picture()].to_vec();
                let before = around.clone();
                from.clear_halo(&mut around);
                let wide = from.halo.top >= window.pad.top && from.halo.left >= window.pad.left;
                assert!(wide && around == before, "{layer}: no zeros around its input");
            }
            self.cells(p, picture, step.output).into_iter().for_each(|(at, cell)| held[to.buffer][at] = cell);
        };
        for batch in 0..2 {
            let picture = |p: usize| batch * MICRO_BATCH + p;
            for p in 0..MICRO_BATCH {
                let input = maps[0];
                input.clear_halo(&mut held[input.buffer][input.base(p)..]);
                self.cells(p, picture(p), 0).into_iter().for_each(|(at, cell)| held[input.buffer][at] = cell);
                (0..*cut).for_each(|i| step(i, p, picture(p), &mut held));
            }
            for i in *cut..self.steps.len() {
                (0..MICRO_BATCH).for_each(|p| step(i, p, picture(p), &mut held));
            }
            for (&tap, p) in self.taps.iter().flat_map(|tap| (0..MICRO_BATCH).map(move |p| (tap, p))) {
                let found = self.cells(p, picture(p), tap).iter().all(|&(at, cell)| held[maps[tap].buffer][at] == cell);
                assert!(found, "tap {tap}: another value lies there");
            }
        }
    }
}

/// A convolution and two residual blocks, as in ResNet, over a map of `size` × `size`.
fn residual(size: usize, c: usize) -> (Builder, Vec<LayerId>) {
    let (mut g, x) = Builder::new(3, size, size);
    let first = g.conv("first", x, Conv::new(c).kernel(3).pad(1));
    let mut sums = vec![g.relu("first_relu", first)];
    for i in 0..2 {
        let x = sums[i];
        let inner = g.conv(&format!("{i}_inner"), x, Conv::new(c).kernel(1 + 2 * i).pad(i));
        let inner = g.relu(&format!("{i}_inner_relu"), inner);
        let outer = g.conv(&format!("{i}_outer"), inner, Conv::new(c).kernel(1 + 2 * i).pad(i));
        let sum = g.add(&format!("{i}_sum"), x, outer);
        sums.push(g.relu(&format!("{i}_sum_relu"), sum));
    }
    (g, sums)
}

#[test]
fn a_sum_lies_where_its_last_read_term_lay() {
    let (g, sums) = residual(12, 8);
    let end = sums[2];
    let graph = g.finish(end, end).expect("built");
    let placed = Placed::new(&graph, &[end]);
    assert_eq!(placed.sums(), [vec!["0_outer", "1_outer"], vec![]]);
    // one buffer for the picture and later the inside of a block, one for the chain of sums
    assert_eq!(placed.plan.buffers.len(), 2);
    placed.check();
    // taps are not overwritten
    let placed = Placed::new(&graph, &sums);
    assert_eq!(placed.sums(), [vec![], vec!["0_outer", "1_outer"]]);
    placed.check();
}

#[test]
fn a_term_that_somebody_needs_stays_where_it_is() {
    let (mut g, x) = Builder::new(4, 9, 9);
    let a = g.conv("a", x, Conv::new(4));
    // the convolution reads the map that is added to it
    let b = g.conv("b", a, Conv::new(4).kernel(3).pad(1));
    let itself = g.add("itself", b, a);
    // read once more, by the step after the next
    let c = g.conv("c", itself, Conv::new(4));
    let c = g.relu("c_relu", c);
    let d = g.conv("d", c, Conv::new(4));
    let again = g.add("again", d, itself);
    let e = g.conv("e", again, Conv::new(4));
    let e = g.relu("e_relu", e);
    let f = g.conv("f", e, Conv::new(4));
    let inside = g.add("inside", f, again);
    let more = g.relu("more", itself);
    // a term of a concatenation, and a sum that is one
    let both = g.concat("both", &[inside, more]);
    let h = g.conv("h", both, Conv::new(8));
    let h = g.relu("h_relu", h);
    let i = g.conv("i", h, Conv::new(8));
    let whole = g.add("whole", i, both);
    // sums that join no convolution, one of a value and itself
    let pooled = g.pool("pooled", whole, Pool::max(3).stride(1).pad(1));
    let plain = g.add("plain", whole, pooled);
    let twice = g.add("twice", plain, plain);
    let graph = g.finish(twice, twice).expect("built");
    let placed = Placed::new(&graph, &[twice]);
    assert_eq!(placed.sums(), [vec!["i", "plain"], vec!["b", "d", "f", "twice"]]);
    placed.check();
}

#[derive(Clone, Debug)]
struct Random {
    kind: usize,
    terms: [usize; 2],
}

fn random() -> impl Strategy<Value = Vec<Random>> {
    let one = (0usize..11, prop::array::uniform2(any::<prop::sample::Index>()));
    prop::collection::vec(one.prop_map(|(kind, terms)| Random { kind, terms: terms.map(|i| i.index(5)) }), 4..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn every_step_finds_what_it_reads(layers in random(), large in any::<bool>(), taps in prop::collection::vec(0usize..20, 0..4)) {
        let side = if large { 37 } else { 8 };
        let (mut g, x) = Builder::new(4, side, side);
        let mut all = vec![x];
        for (i, Random { kind, terms }) in layers.iter().enumerate() {
            let name = format!("v{i}");
            // one of the last few values
            let [a, b] = terms.map(|back| all[all.len() - 1 - back.min(all.len() - 1)]);
            let alike = g.shape(a) == g.shape(b);
            let beside = matches!((g.shape(a), g.shape(b)), (Shape::Map { c, h, .. }, Shape::Map { c: d, h: o, .. }) if h == o && c + d < 40);
            all.push(match kind {
                0 => g.conv(&name, a, Conv::new(4).kernel(3).pad(1)),
                1 => g.relu(&name, a),
                2 if beside => g.concat(&name, &[a, b]),
                3 => g.pool(&name, a, Pool::avg(3).stride(1).pad(1)),
                4 => g.pool(&name, a, Pool::max(3).stride(2).pad(1)),
                5 | 6 if alike => g.add(&name, a, b),
                9 => {
                    let gate = g.adaptive_avg_pool(&format!("{name}_gate"), a, 1);
                    g.multiply(&name, a, gate)
                }
                10 => g.conv(&name, a, Conv::new(64).groups(2).kernel(3).pad(1)),
                _ => g.conv(&name, a, Conv::new(4)),
            });
        }
        let end = all[all.len() - 1];
        let graph = g.finish(end, end).expect("built");
        let taps: Vec<LayerId> = taps.iter().map(|&i| all[i % all.len()]).chain([end]).collect();
        Placed::new(&graph, &taps).check();
    }
}

#[test]
fn bits_are_the_same_wherever_a_sum_lies() {
    // direct convolutions in the first network, Winograd in the second
    for (size, c) in [(7, 21), (40, 16)] {
        let (g, sums) = residual(size, c);
        let end = sums[2];
        let graph = g.finish(end, end).expect("built");
        let pictures = noise(5 * size * size * 3, 9);
        let programs = [&[end][..], &[end, sums[0], sums[1]]].map(|taps| lowered(&graph, taps));
        let networks = |program: &Program| {
            let engines = [Precision::F32, Precision::Bf16].into_iter().flat_map(Engine::available);
            let networks = engines.map(|engine| Network::new(program.clone(), engine));
            networks.collect::<Result<Vec<_>, _>>().expect("planned")
        };
        for (onto, apart) in networks(&programs[0]).iter().zip(&networks(&programs[1])) {
            for threads in [1, 3] {
                let [onto, apart] =
                    [onto, apart].map(|n| n.forward(&mut n.scratch(threads), &pictures, 5).swap_remove(0));
                assert!(onto.iter().zip(&apart).all(|(a, b)| a.to_bits() == b.to_bits()), "{size} × {size} × {c}");
                assert!(onto.iter().any(|&v| v > 0.0), "something was computed");
            }
        }
    }
}
