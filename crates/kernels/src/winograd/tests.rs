//! Compares the convolution with its definition in f64, on every instruction set of this CPU.

use proptest::prelude::*;

use super::super::activation::tests::definition;
use super::super::peak::noise as values;
use super::*;

/// A layer and its maps in memory: pixels are a few values longer than their channels, rows longer than their pixels,
/// since other maps may lie between.
#[derive(Clone, Debug)]
struct Case {
    layout: WinogradLayout,
    channels: usize,
    filters: usize,
    activation: Option<Activation>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    input: Vec<f32>,
    residual: Vec<f32>,
    output: Vec<f32>,
}

/// A value that no layer computes.
const UNTOUCHED: f32 = 12345.0;

fn grid(pictures: usize, [h, w]: [usize; 2], c: usize, gap: usize) -> (BatchLayout, usize) {
    let pixel = c + gap;
    let row = w * pixel + 3 * gap;
    let grid = BatchLayout { start: 2 * gap, pixel_stride: pixel, row_stride: row, picture_stride: h * row + gap };
    (grid, 2 * gap + pictures * (h * row + gap))
}

fn index(grid: &BatchLayout, p: usize, y: usize, x: usize, k: usize) -> usize {
    grid.start + p * grid.picture_stride + y * grid.row_stride + x * grid.pixel_stride + k
}

/// Returns the layouts that a layer reads and writes.
fn grids(layout: &mut WinogradLayout) -> Vec<&mut BatchLayout> {
    let residual = if let Residual::At(grid) = &mut layout.residual { Some(grid) } else { None };
    [&mut layout.input, &mut layout.output].into_iter().chain(residual).collect()
}

impl Case {
    fn new(pictures: usize, size: [usize; 2], [c, filters]: [usize; 2], gap: usize, residual: bool) -> Self {
        let read = size.map(|n| n + 2);
        let (from, from_len) = grid(pictures, read, c, gap);
        let (to, to_len) = grid(pictures, size, filters, gap);
        let (plus, plus_len) = grid(pictures, size, filters, 2 * gap);
        // a value read beside the map makes the result NaN
        let fill = |grid: &BatchLayout, len: usize, [h, w]: [usize; 2], c: usize, seed: u32| {
            let mut all = vec![f32::NAN; len];
            let mut values = values(pictures * h * w * c, seed).into_iter();
            for (p, y) in (0..pictures).flat_map(|p| (0..h).map(move |y| (p, y))) {
                for (x, k) in (0..w).flat_map(|x| (0..c).map(move |k| (x, k))) {
                    all[index(grid, p, y, x, k)] = values.next().unwrap_or(0.0);
                }
            }
            all
        };
        Self {
            layout: WinogradLayout {
                pictures,
                input: from,
                output: to,
                residual: Residual::at(residual.then_some(plus)),
                size,
            },
            channels: c,
            filters,
            activation: None,
            weight: values(filters * c * 9, 3),
            bias: values(filters, 4),
            input: fill(&from, from_len, read, c, 5),
            residual: fill(&plus, plus_len, size, filters, 6),
            output: vec![UNTOUCHED; to_len],
        }
    }

    fn run(&self, isa: Isa, tile: TileSize) -> Vec<f32> {
        let conv = WinogradConv::new(isa, tile, &self.weight, &self.bias, self.channels);
        let [one, three] = [1, 3].map(|threads| {
            let mut output = self.output.clone();
            // the contents of the scratch must not matter
            let mut scratch = vec![f32::NAN; conv.scratch_len(threads, &self.layout)];
            conv.run(threads, &self.layout, &self.input, &self.residual, self.activation, &mut output, &mut scratch);
            output
        });
        let bits = |all: &[f32]| all.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&three), bits(&one), "three threads give other bits than one");
        if let Residual::At(grid) = self.layout.residual {
            let mut in_place = self.output.clone();
            for [p, y, x, f] in self.positions() {
                in_place[index(&self.layout.output, p, y, x, f)] = self.residual[index(&grid, p, y, x, f)];
            }
            let layout = WinogradLayout { residual: Residual::InPlace, ..self.layout };
            for threads in [1, 3] {
                let (mut in_place, mut scratch) =
                    (in_place.clone(), vec![f32::NAN; conv.scratch_len(threads, &layout)]);
                conv.run(threads, &layout, &self.input, &[], self.activation, &mut in_place, &mut scratch);
                assert_eq!(
                    bits(&in_place),
                    bits(&one),
                    "with the residual in place it has other bits, {threads} threads"
                );
            }
        }
        one
    }

    /// Positions of the output and of the residual.
    fn positions(&self) -> impl Iterator<Item = [usize; 4]> + use<> {
        let (pictures, [h, w], filters) = (self.layout.pictures, self.layout.size, self.filters);
        let pixels = (0..pictures * h * w).map(move |i| [i / (h * w), i / w % h, i % w]);
        pixels.flat_map(move |[p, y, x]| (0..filters).map(move |f| [p, y, x, f]))
    }

    /// Returns the output at a position by the definition, before the activation, and the sum of the absolute values of
    /// its terms.
    fn exact(&self, [p, y, x, f]: [usize; 4]) -> [f64; 2] {
        let mut sum = [f64::from(self.bias[f]), f64::from(self.bias[f].abs())];
        let mut add = |term: f64| sum = [sum[0] + term, sum[1] + term.abs()];
        for (k, tap) in (0..self.channels).flat_map(|k| (0..9).map(move |tap| (k, tap))) {
            let input = self.input[index(&self.layout.input, p, y + tap / 3, x + tap % 3, k)];
            add(f64::from(input) * f64::from(self.weight[(f * self.channels + k) * 9 + tap]));
        }
        if let Residual::At(grid) = &self.layout.residual {
            add(f64::from(self.residual[index(grid, p, y, x, f)]));
        }
        sum
    }

    /// Returns the norm of the error relative to the norm of the exact outputs, and relative to the norm of the sums of
    /// absolute terms, which does not vanish by chance.
    fn error(&self, output: &[f32]) -> [f64; 2] {
        let (mut difference, mut square, mut square_terms) = (0.0, 0.0, 0.0);
        for at @ [p, y, x, f] in self.positions() {
            let [exact, terms] = self.exact(at);
            let exact = self.activation.map_or(exact, |activation| definition(activation, exact));
            let off = f64::from(output[index(&self.layout.output, p, y, x, f)]) - exact;
            assert!(!off.is_nan(), "not a number at {at:?}");
            difference += off * off;
            square += exact * exact;
            square_terms += terms * terms;
        }
        [square, square_terms].map(|square| (difference / f64::max(square, 1e-30)).sqrt())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_shape_gives_the_convolution(
        size in prop::array::uniform2(1usize..21), channels in (1usize..41, 1usize..71), pictures in 1usize..5,
        gap in 0usize..5,
        residual in any::<bool>(), activation in 0usize..4,
    ) {
        let mut case = Case::new(pictures, size, [channels.0, channels.1], gap, residual);
        case.activation = [None, Some(Activation::Relu), Some(Activation::Relu6), Some(Activation::Silu)][activation];
        for isa in Isa::available() {
            for tile in [TileSize::Four, TileSize::Six] {
                let output = case.run(isa, tile);
                let [_, error] = case.error(&output);
                prop_assert!(error < 2e-6, "{isa:?} {tile:?} {error:e}");
                let mut beside = output.clone();
                for [p, y, x, f] in case.positions() {
                    beside[index(&case.layout.output, p, y, x, f)] = UNTOUCHED;
                }
                prop_assert!(beside == case.output, "{isa:?} {tile:?} wrote beside the map");
                for p in 0..pictures {
                    let mut alone = case.clone();
                    alone.layout.pictures = 1;
                    grids(&mut alone.layout).into_iter().for_each(|grid| grid.start += p * grid.picture_stride);
                    let alone = alone.run(isa, tile);
                    for [_, y, x, f] in case.positions().filter(|at| at[0] == p) {
                        let at = index(&case.layout.output, p, y, x, f);
                        let same = alone[at].to_bits() == output[at].to_bits();
                        prop_assert!(same, "{isa:?} {tile:?}: bits depend on the batch");
                    }
                }
            }
        }
    }
}

#[test]
fn the_chosen_tile_keeps_the_error_small() {
    // 32 channels: the first convolution of EfficientNetV2 with stride 1
    let few = ([32, 16], [32, 32], TileSize::Four, 8e-7);
    let many = [([512, 32], [7, 7], TileSize::Four, 1.2e-6), ([512, 32], [13, 14], TileSize::Six, 5e-6)];
    for ([channels, filters], size, tile, bound) in [few].into_iter().chain(many) {
        assert_eq!(TileSize::choose(channels, filters, size), Some(tile));
        let case = Case::new(1, size, [channels, filters], 0, false);
        for isa in Isa::available() {
            let [error, _] = case.error(&case.run(isa, tile));
            assert!(error < bound, "{channels} channels, {isa:?} {tile:?} {error:e}");
        }
    }
}

#[test]
fn many_tiles_go_through_in_blocks() {
    let case = Case::new(2, [75, 70], [160, 2], 1, true);
    let conv = WinogradConv::new(Isa::Portable, TileSize::Four, &case.weight, &case.bias, case.channels);
    assert!(conv.first_block(&case.layout).tiles < 2 * 19 * 18 / 4, "more than four blocks");
    for isa in Isa::available() {
        for tile in [TileSize::Four, TileSize::Six] {
            let [error, _] = case.error(&case.run(isa, tile));
            assert!(error < 8e-6, "{isa:?} {tile:?} {error:e}");
        }
    }
}

#[test]
fn nan_stays_nan_and_stays_near() {
    let mut case = Case::new(2, [15, 15], [5, 20], 1, false);
    case.activation = Some(Activation::Relu6);
    let at = index(&case.layout.input, 0, 8, 8, 3);
    case.input[at] = f32::NAN;
    for isa in Isa::available() {
        for tile in [TileSize::Four, TileSize::Six] {
            let output = case.run(isa, tile);
            for [p, y, x, f] in case.positions() {
                let got = output[index(&case.layout.output, p, y, x, f)];
                if p == 0 && (6..=8).contains(&y) && (6..=8).contains(&x) {
                    assert!(got.is_nan(), "{isa:?} {tile:?}: a number at {y} {x}");
                } else if p == 1 || !(1..14).contains(&y) || !(1..14).contains(&x) {
                    assert!(!got.is_nan(), "{isa:?} {tile:?}: not a number at {y} {x}");
                }
            }
        }
    }
}

#[test]
fn nothing_is_done_for_no_pictures_and_layouts_are_checked() {
    let mut case = Case::new(1, [6, 6], [3, 4], 0, true);
    let conv = WinogradConv::new(Isa::detect(), TileSize::Four, &case.weight, &case.bias, case.channels);
    let run = |case: &Case, scratch: usize| {
        let mut output = case.output.clone();
        let (layout, scratch) = (case.layout, &mut vec![0.0; scratch]);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            conv.run(1, &layout, &case.input, &case.residual, None, &mut output, scratch);
            output
        }))
    };
    let scratch = conv.scratch_len(1, &case.layout);
    assert!(run(&case, scratch).is_ok());
    assert!(run(&case, scratch - 1).is_err(), "the scratch is too short");
    for grid in 0..3 {
        let mut wrong = case.clone();
        grids(&mut wrong.layout)[grid].start += 1;
        assert!(run(&wrong, scratch).is_err(), "{:?}", wrong.layout);
    }
    case.layout.pictures = 0;
    assert_eq!(conv.scratch_len(1, &case.layout), 0);
    assert!(run(&case, 0).is_ok_and(|output| output == case.output));
}

#[test]
fn the_tile_is_chosen_by_the_shape() {
    let choose = |c, filters, n| TileSize::choose(c, filters, [n, n]);
    assert_eq!(choose(3, 64, 224), None);
    assert_eq!(choose(512, 512, 3), None);
    assert_eq!(choose(512, 512, 7), Some(TileSize::Four));
    assert_eq!(choose(448, 384, 8), Some(TileSize::Four));
    for (c, filters, n) in [(32, 16, 112), (24, 24, 150), (48, 192, 75)] {
        assert_eq!(choose(c, filters, n), Some(TileSize::Four));
    }
    for (c, filters, n) in [(64, 64, 224), (64, 64, 56), (128, 128, 28), (256, 256, 14), (512, 512, 14), (96, 96, 35)] {
        assert_eq!(choose(c, filters, n), Some(TileSize::Six));
    }
}
