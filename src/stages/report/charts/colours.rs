//! The colours of the page and of its charts, light and dark. They are those of Okabe and Ito ("Color Universal
//! Design", 2008), which people with any colour vision can distinguish; some are darker or lighter for contrast.

use std::fmt::Write;

/// Name, colour on the light page, colour on the dark page.
type Colour = (&'static str, &'static str, &'static str);

const ALL: [Colour; 22] = [
    ("page", "#f7f7f5", "#14171b"),
    ("card", "#ffffff", "#1c2026"),
    ("ink", "#1d2127", "#e7e9ec"),
    ("soft", "#5b636e", "#9da6b1"),
    ("line", "#e3e4e1", "#2c323a"),
    ("rule", "#c9cbc7", "#4a525d"),
    ("track", "#eceeec", "#2a3038"),
    ("accent", "#0072b2", "#58aee3"),
    ("main", "#0072b2", "#17608f"),
    ("hit", "#0072b2", "#2274ac"),
    ("miss", "#d55e00", "#e2701e"),
    ("bad", "#b64f00", "#f0924e"),
    ("good", "#00714f", "#3cc69b"),
    ("second", "#56b4e9", "#2f6f9c"),
    ("k0", "#0072b2", "#4a9fd8"),
    ("k1", "#e69f00", "#e69f00"),
    ("k2", "#009e73", "#1db389"),
    ("k3", "#d55e00", "#e5702a"),
    ("k4", "#cc79a7", "#d98fb8"),
    ("k5", "#56b4e9", "#7fcbf5"),
    ("k6", "#5f6670", "#b4bac2"),
    ("k7", "#b9a900", "#f0e442"),
];

/// The CSS variables of the light page and of the dark page.
pub fn variables() -> [String; 2] {
    let mut both = [String::new(), String::new()];
    for (name, light, dark) in ALL {
        for (out, value) in both.iter_mut().zip([light, dark]) {
            write!(out, "--{name}: {value}; ").ok();
        }
    }
    both.map(|text| text.trim_end().to_string())
}

/// Replaces the variables in `css` by the light colours, since few programs that read SVG support variables.
pub fn without_variables(css: &str) -> String {
    ALL.iter().fold(css.to_string(), |css, (name, light, _)| css.replace(&format!("var(--{name})"), light))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(name: &str, dark: bool) -> [f64; 3] {
        let (_, light, other) = ALL.iter().find(|(other, ..)| *other == name).expect("a colour");
        let text = if dark { other } else { light };
        [1, 3, 5].map(|at| f64::from(u8::from_str_radix(&text[at..at + 2], 16).expect("hex")))
    }

    /// Relative luminance and contrast of WCAG 2.2.
    fn luminance(colour: [f64; 3]) -> f64 {
        let [r, g, b] = colour.map(|v| {
            let v = v / 255.0;
            if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }

    fn contrast(a: [f64; 3], b: [f64; 3]) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    /// The colour `over`, drawn on `ground` with opacity `alpha`.
    fn mixed(over: [f64; 3], ground: [f64; 3], alpha: f64) -> [f64; 3] {
        std::array::from_fn(|i| over[i] * alpha + ground[i] * (1.0 - alpha))
    }

    #[test]
    fn text_stands_out_from_its_ground() {
        assert!((contrast([0.0; 3], [255.0; 3]) - 21.0).abs() < 1e-9);
        for dark in [false, true] {
            let colour = |name| hex(name, dark);
            for ground in ["page", "card"] {
                for text in ["ink", "soft", "accent", "bad"] {
                    let found = contrast(colour(text), colour(ground));
                    assert!(found >= 4.5, "{text} on {ground}, dark {dark}: {found:.2}");
                }
            }
            // the colour behind the YAML text and behind the placeholder of a missing picture
            for text in ["ink", "soft"] {
                let found = contrast(colour(text), colour("track"));
                assert!(found >= 4.5, "{text} on track, dark {dark}: {found:.2}");
            }
            let found = contrast([255.0; 3], colour("main"));
            assert!(found >= 4.5, "white on main, dark {dark}: {found:.2}");
        }
    }

    #[test]
    fn bars_and_marks_stand_out_from_the_card() {
        for dark in [false, true] {
            for name in
                ["accent", "hit", "miss", "bad", "good", "second", "k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7"]
            {
                let found = contrast(hex(name, dark), hex("card", dark));
                assert!(found >= 2.0, "{name}, dark {dark}: {found:.2}");
            }
        }
    }

    #[test]
    fn numbers_in_the_matrix_stand_out_at_every_shade() {
        for dark in [false, true] {
            for kind in ["hit", "miss"] {
                for share in 1..=100 {
                    let share = f64::from(share) / 100.0;
                    let ground = mixed(hex(kind, dark), hex("card", dark), crate::stages::report::scores::shade(share));
                    let found = contrast(hex("ink", dark), ground);
                    assert!(found >= 4.5, "{kind} at {share}, dark {dark}: {found:.2}");
                }
            }
        }
    }

    #[test]
    fn no_variable_is_left_in_a_file() {
        let css = without_variables(crate::stages::report::CHART_STYLE.1);
        assert!(!css.contains("var(") && css.contains("fill: #0072b2"), "{css}");
        let [light, dark] = variables();
        assert!(light.starts_with("--page: #f7f7f5; --card: #ffffff;") && dark.ends_with("--k7: #f0e442;"));
    }
}
