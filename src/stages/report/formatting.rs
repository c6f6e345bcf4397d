//! Formatting of numbers, dates and settings for people.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::image::{ChannelOrder, DecodeOptions, Exif, Filter, Fit, Recipe, Truncated};
use crate::progress::units;

/// `12,345`.
pub fn count(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 image`, `2,000 images`.
pub fn plural(n: usize, unit: &str) -> String {
    format!("{} {}", count(n), units(n, unit))
}

/// A share of 1 as `93.5 %`. Only 1 itself is `100 %` and only 0 itself is `0 %`.
pub fn percent(share: f64) -> String {
    let text = match format!("{:.1}", 100.0 * share).as_str() {
        _ if !share.is_finite() => return "–".into(),
        _ if share == 1.0 => "100".to_string(),
        _ if share == 0.0 => "0".to_string(),
        "100.0" if share < 1.0 => "> 99.9".to_string(),
        "0.0" => "< 0.1".to_string(),
        text => text.to_string(),
    };
    text + "\u{202f}%"
}

/// A number with about three significant digits: `0.012`, `1.5`, `120`.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-3..1e6).contains(&size) {
        return format!("{value:.2e}");
    }
    let decimals = if size >= 100.0 { 0 } else { 3 };
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
}

/// The form of a word for `n` things: `one` for 1, else `others`, as `was` and `were`.
pub fn form<'a>(n: usize, one: &'a str, others: &'a str) -> &'a str {
    if n == 1 { one } else { others }
}

/// `2026-11-24 12:53`, UTC.
pub fn date(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant's algorithm `civil_from_days`: years begin in March, an era has 400 years
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let (day, month) =
        (day_of_year - (153 * shifted + 2) / 5 + 1, if shifted < 10 { shifted + 3 } else { shifted - 9 });
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", rest / 3600, rest % 3600 / 60)
}

/// `224 × 224`.
pub fn size(sides: &[usize]) -> String {
    let sides: Vec<String> = sides.iter().map(|&side| count(side)).collect();
    sides.join(" × ")
}

/// The options of the decoder as text.
pub fn decoding(options: &DecodeOptions) -> String {
    let exif = match options.exif {
        Exif::Apply => "turned as EXIF says",
        Exif::Ignore => "EXIF ignored",
    };
    let background = match options.background {
        [255, 255, 255] => "white".to_string(),
        [0, 0, 0] => "black".to_string(),
        [r, g, b] => format!("({r}, {g}, {b})"),
    };
    let mut words = vec![exif.to_string(), format!("transparent on {background}")];
    if options.truncated == Truncated::Pad {
        words.push("truncated files filled up".to_string());
    }
    if options.fast_decode {
        words.push("large JPEGs decoded at reduced size".to_string());
    }
    if options.max_pixels != DecodeOptions::default().max_pixels {
        words.push(format!("at most {} pixels", count(usize::try_from(options.max_pixels).unwrap_or(usize::MAX))));
    }
    words.join(", ")
}

/// The steps of a recipe as text, in their order.
pub fn recipe(recipe: &Recipe) -> String {
    let [height, width] = recipe.size;
    let filter = match recipe.filter {
        Filter::Nearest => "nearest",
        Filter::Box => "box",
        Filter::Bilinear => "bilinear",
        Filter::Hamming => "Hamming",
        Filter::Bicubic => "bicubic",
        Filter::Lanczos => "Lanczos",
    };
    let filter = if recipe.antialias { filter.to_string() } else { format!("{filter} without antialiasing") };
    let input = format!("{width} × {height} px");
    let shape = match recipe.fit {
        Fit::Stretch => format!("stretched to {input} ({filter})"),
        Fit::Crop if width == height => {
            let short = (width as f64 / recipe.crop_pct).floor();
            format!("short side resized to {short} px ({filter}), centre {input} cut out")
        }
        Fit::Crop => format!("resized to cover {input} / {} ({filter}), centre cut out", number(recipe.crop_pct)),
        Fit::Squash => format!("stretched to {input} / {} ({filter}), centre cut out", number(recipe.crop_pct)),
        Fit::Border => format!("fitted into {input} / {} ({filter}), centred on the mean", number(recipe.crop_pct)),
        Fit::Pad => format!("fitted into {input} ({filter}) on white"),
    };
    let channels = match recipe.channels {
        ChannelOrder::Rgb => "RGB",
        ChannelOrder::Bgr => "BGR",
        ChannelOrder::Grey => "grey",
    };
    let mut steps = vec![shape, channels.to_string()];
    if recipe.divisor != 1.0 {
        steps.push(format!("divided by {}", recipe.divisor));
    }
    if recipe.mean != [0.0; 3] {
        steps.push(format!("less {}", channel_values(recipe.mean)));
    }
    if recipe.std != [1.0; 3] {
        steps.push(format!("divided by {}", channel_values(recipe.std)));
    }
    steps.join(", ")
}

/// One number when the channels agree, else all three.
fn channel_values(values: [f32; 3]) -> String {
    let [a, b, c] = values;
    if a == b && b == c { a.to_string() } else { format!("({a}, {b}, {c})") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 1, 2].map(|n| plural(n, "class")), ["0 classes", "1 class", "2 classes"]);
        assert_eq!(plural(1001, "image"), "1,001 images");
        assert_eq!([0.0, 1.0, 1234.5, 0.25, -0.03, 1e-5].map(number), ["0", "1", "1234", "0.25", "-0.03", "1.00e-5"]);
    }

    #[test]
    fn dates_are_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00"),
            (951_782_399, "2000-02-28 23:59"),
            (951_782_400, "2000-02-29 00:00"),
            (1_709_251_200, "2024-03-01 00:00"),
            (4_107_542_399, "2100-02-28 23:59"),
            (4_107_542_400, "2100-03-01 00:00"),
        ] {
            assert_eq!(date(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn nothing_and_all_are_said_of_nothing_and_all_only() {
        let shares = [0.0, 0.0001, 0.5, 0.9999, 1.0, f64::NAN].map(percent);
        assert_eq!(
            shares,
            ["0 %", "< 0.1 %", "50.0 %", "> 99.9 %", "100 %", "–"].map(|t| t.replace(" %", "\u{202f}%"))
        );
    }

    #[test]
    fn decoding_is_told_with_what_is_unusual() {
        let usual = DecodeOptions::default();
        assert_eq!(decoding(&usual), "turned as EXIF says, transparent on white");
        let other = DecodeOptions {
            exif: Exif::Ignore,
            background: [1, 2, 3],
            truncated: Truncated::Pad,
            fast_decode: true,
            max_pixels: 1000,
        };
        let text = "EXIF ignored, transparent on (1, 2, 3), truncated files filled up, \
                    large JPEGs decoded at reduced size, at most 1,000 pixels";
        assert_eq!(decoding(&other), text);
    }

    #[test]
    fn a_recipe_is_told_step_by_step() {
        let lite = Recipe { filter: Filter::Bicubic, mean: [0.5; 3], std: [0.5; 3], ..Recipe::TORCHVISION };
        let text = "short side resized to 256 px (bicubic), centre 224 × 224 px cut out, RGB, divided by 255, less \
                    0.5, divided by 0.5";
        assert_eq!(recipe(&lite), text);
        let caffe = Recipe {
            fit: Fit::Stretch,
            filter: Filter::Nearest,
            channels: ChannelOrder::Bgr,
            divisor: 1.0,
            mean: [103.939, 116.779, 123.68],
            std: [1.0; 3],
            ..lite
        };
        assert_eq!(recipe(&caffe), "stretched to 224 × 224 px (nearest), BGR, less (103.939, 116.779, 123.68)");
    }
}
