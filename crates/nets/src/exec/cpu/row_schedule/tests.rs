//! Follows the row schedules of whole networks, row by row.

use super::*;
use crate::exec::cpu::Engine;
use crate::exec::cpu::memory_plan;
use crate::exec::cpu::network::{fuse, maps_of};
use crate::exec::lower::lower;
use crate::models::{BuildOptions, Source, find};
use crate::weights::Origin;
use featurize_kernels::simd::Isa;

/// The content of a row of a buffer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Row {
    Unknown,
    Zeros,
    Of(usize),
}

/// Follows the actions of every schedule over buffers of row numbers; gives the steps of each schedule.
fn follow(name: &str, size: [usize; 2]) -> Vec<Range<usize>> {
    let spec = find(name).expect("registered");
    let source = spec.weights.first().map_or(Source::Timm, |weights| weights.source);
    let options = BuildOptions { channels: 3, size, classes: 10, source };
    let graph = (spec.build)(&options).expect("built");
    let weights = Origin::Random(1).load(&graph, source, &[]).expect("random");
    let program = lower(&graph, &weights, &[graph.features()]).expect("lowered");
    let (taps, input) = (program.taps.clone(), Map::of(program.input_shape));
    let steps = fuse(program, Engine::Vectors(Isa::Portable));
    let maps = maps_of(&steps, input);
    let plan = memory_plan::plan(&steps, &taps, maps, 4, true);
    for schedule in &plan.schedules {
        let mut done = vec![0; steps.len()];
        let mut buffers = Buffers::of(&plan.maps, schedule, &steps);
        for action in &schedule.actions {
            match action {
                Action::Drop { value, rows, keep } => {
                    buffers.rows[*value].copy_within(*rows..rows + keep, 0);
                    buffers.rows[*value][*keep..].fill(Row::Unknown);
                }
                Action::Bottom { value, row } => {
                    buffers.rows[*value][*row..row + plan.maps[*value].halo.bottom].fill(Row::Zeros);
                }
                Action::Compute(range) => {
                    assert_eq!(done[range.step], range.rows.start, "{name}: rows in order");
                    done[range.step] = range.rows.end;
                    buffers.compute(&steps[range.step], range);
                }
            }
        }
        // other steps may leave out rows that no step reads
        let last = schedule.steps.end - 1;
        assert_eq!(done[last], plan.maps[steps[last].step.output].h, "{name}: all rows");
    }
    plan.schedules.into_iter().map(|schedule| schedule.steps).collect()
}

/// The rows of the buffer of each value.
struct Buffers<'a> {
    maps: &'a [Map],
    rows: Vec<Vec<Row>>,
}

impl<'a> Buffers<'a> {
    /// The buffers before a schedule: they hold the values that it does not compute.
    fn of(maps: &'a [Map], schedule: &RowSchedule, steps: &[Fused]) -> Self {
        let rows = maps.iter().enumerate().map(|(value, map)| {
            let mut rows = vec![Row::Unknown; schedule.held(value).unwrap_or(map.h + map.halo.top + map.halo.bottom)];
            rows[..map.halo.top].fill(Row::Zeros);
            if !schedule.steps.clone().any(|i| steps[i].step.output == value) {
                rows[map.halo.top + map.h..].fill(Row::Zeros);
                (0..map.h).for_each(|y| rows[map.halo.top + y] = Row::Of(y));
            }
            rows
        });
        Self { maps, rows: rows.collect() }
    }

    /// Checks the rows that a step reads, then writes those that it computes.
    fn compute(&mut self, fused: &Fused, range: &RowRange) {
        let (output, layer) = (fused.step.output, &fused.step.layer);
        let to = &self.maps[output];
        // without the term that lies at the output
        let inputs: Vec<usize> = fused.inputs().into_iter().filter(|&value| self.maps[value] != *to).collect();
        for (k, value) in inputs.into_iter().enumerate() {
            let map = &self.maps[value];
            assert!(map.buffer != to.buffer, "{layer} writes into what it reads");
            if k == 1 && matches!(fused.step.kernel, Kernel::Multiply) {
                assert_eq!(self.rows[value], [Row::Of(0)], "{layer} wants its gate");
                continue;
            }
            let elementwise = Reach { kernel: 1, stride: 1, top: 0, tile: 1 };
            let reach = if k == 0 { Reach::of(fused).expect("computed by rows") } else { elementwise };
            let window = |y: usize| (0..reach.kernel).map(move |ky| y * reach.stride + ky);
            for y in range.rows.clone().flat_map(window) {
                let there = (reach.top..map.h + reach.top).contains(&y);
                if !there && matches!(fused.step.kernel, Kernel::Pool { .. }) {
                    continue;
                }
                let expected = if there { Row::Of(y - reach.top) } else { Row::Zeros };
                let found = self.rows[value][y + map.halo.top - reach.top - range.inputs[k]];
                assert_eq!(found, expected, "{layer} wants row {y}");
            }
        }
        for y in range.rows.clone() {
            let at = y + to.halo.top - range.output;
            for (other, rows) in self.rows.iter_mut().enumerate() {
                // other values in this buffer are overwritten
                if let Some(row) = rows.get_mut(at).filter(|_| self.maps[other].buffer == to.buffer) {
                    *row = if other == output { Row::Of(y) } else { Row::Unknown };
                }
            }
        }
    }
}

#[test]
fn every_row_is_there_when_it_is_read() {
    for (name, size) in [
        ("xception", [299, 299]),
        ("inception_v3", [299, 299]),
        ("vgg16", [224, 224]),
        ("resnet50", [224, 224]),
        ("efficientnet_lite0", [224, 224]),
        ("xception", [301, 512]),
        ("alexnet", [500, 333]),
        ("efficientnet_b0", [224, 224]),
        ("convnext_tiny", [224, 224]),
        ("regnet_y_400mf", [224, 224]),
    ] {
        let runs = follow(name, size);
        assert!(!runs.is_empty(), "{name} has large maps one behind the other");
        assert!(runs.windows(2).all(|pair| pair[0].end <= pair[1].start), "{runs:?}");
    }
    // no map is large
    assert!(follow("efficientnet_lite0", [64, 64]).is_empty());
}
