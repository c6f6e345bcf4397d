//! The time of the stages and of the steps of the extraction, and the change that would make it faster.

use serde_json::{Value, json};

use super::data::ReportData;
use super::formatting::{count, percent, plural};
use crate::progress::duration;
use crate::stages::extract::{Extracted, Timing};

/// The section of a run; none when no stage has a time.
pub fn section(data: &ReportData) -> Option<Value> {
    let total: f64 = data.seconds.iter().map(|(_, seconds)| seconds).sum();
    if data.seconds.is_empty() {
        return None;
    }
    let stages: Vec<_> = data.seconds.iter().map(|(stage, seconds)| (stage.name(), *seconds)).collect();
    let most = data.memory.iter().map(|(_, peak)| *peak).max().unwrap_or(0).max(1) as f64;
    // the peak memory, and the width of its bar
    let memory = |name: &str| {
        let (_, peak) = data.memory.iter().find(|(stage, _)| stage.name() == name)?;
        Some([format!("{} MB", count(*peak as usize)), format!("{:.2}", 100.0 * *peak as f64 / most)])
    };
    let extraction = data.extracted.as_ref().and_then(extraction);
    // the reason why the section tells nothing about the extraction
    let reused = data.extracted.is_some() && extraction.is_none();
    let note = reused.then_some("Every feature was there already: no picture had to be read.");
    Some(json!({"total": duration(total), "stages": parts(&stages, memory), "memory": !data.memory.is_empty(),
        "extraction": extraction, "note": note}))
}

/// Stages or steps with their shares of the total; the width of a bar is 0 to 100.
fn parts(all: &[(&'static str, f64)], memory: impl Fn(&str) -> Option<[String; 2]>) -> Vec<Value> {
    let total: f64 = all.iter().map(|(_, seconds)| seconds).sum();
    let part = |&(name, seconds): &(&'static str, f64)| {
        let share = if total > 0.0 { seconds / total } else { 0.0 };
        let bar = format!("{:.2}", 100.0 * share);
        json!({"name": name, "time": duration(seconds), "share": percent(share), "bar": bar, "memory": memory(name)})
    };
    all.iter().map(part).collect()
}

fn extraction(extracted: &Extracted) -> Option<Value> {
    let timing = &extracted.timing;
    let Timing { read, decode, prepare, forward, write, .. } = *timing;
    let steps = [("read", read), ("decode", decode), ("prepare", prepare), ("forward", forward), ("write", write)];
    let work: f64 = steps.iter().map(|(_, seconds)| seconds).sum();
    if timing.pictures == 0 || timing.wall <= 0.0 || work <= 0.0 {
        return None;
    }
    let rate = timing.rate();
    let rate = if rate < 100.0 { format!("{rate:.1}") } else { count(rate.round() as usize) };
    let (images, threads) = (plural(timing.pictures, "image"), plural(extracted.threads, "thread"));
    let wall = duration(timing.wall);
    let summary = format!("{images} in {wall}: {rate} images/s on {} with {threads}.", extracted.device);
    let verdict = verdict(extracted, &steps, work);
    Some(json!({"summary": summary, "verdict": verdict, "steps": parts(&steps, |_| None)}))
}

/// One sentence about the bottleneck of the extraction and its remedy.
fn verdict(extracted: &Extracted, steps: &[(&'static str, f64)], work: f64) -> String {
    let timing = &extracted.timing;
    let cpu = extracted.device.starts_with("cpu");
    if !cpu {
        // several GPUs may have been busy for more seconds than passed
        let busy = timing.forward / (timing.forward + timing.waited.device).max(1e-9);
        if busy >= 0.8 {
            return format!("The device was busy {} of the time: the network is the bottleneck.", percent(busy));
        }
        let slowest = slowest(steps.iter().filter(|(name, _)| matches!(*name, "read" | "decode" | "prepare")));
        let idle = percent(1.0 - busy);
        return format!("The device waited {idle} of the time, mostly for `{slowest}`: more threads would help most.");
    }
    let name = slowest(steps.iter());
    let seconds = steps.iter().find(|(other, _)| *other == name).map_or(0.0, |(_, seconds)| *seconds);
    let share = percent(seconds / work);
    match name {
        "forward" => format!("The network takes {share} of the work: a GPU or a smaller model would help most."),
        "decode" => format!("Decoding takes {share} of the work: smaller picture files would help most."),
        "read" => format!("Reading files takes {share} of the work: a faster or nearer disk would help most."),
        "prepare" => {
            format!("Resizing takes {share} of the work: smaller pictures or a simpler filter would help most.")
        }
        _ => format!("Writing tables takes {share} of the work: `output.layout: array` writes wide features faster."),
    }
}

fn slowest<'a>(steps: impl Iterator<Item = &'a (&'static str, f64)>) -> &'static str {
    steps.max_by(|a, b| a.1.total_cmp(&b.1)).map_or("", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::pictures::stream::Waited;

    fn extracted(device: &str, timing: Timing) -> Extracted {
        Extracted {
            ok: 10,
            failed: 0,
            skipped: 0,
            train_rows: 5,
            width: 4,
            shards: 1,
            reused: 0,
            device: device.into(),
            kernels: None,
            threads: 2,
            failed_by_kind: BTreeMap::new(),
            skipped_by_kind: BTreeMap::new(),
            duplicates: None,
            timing,
        }
    }

    #[test]
    fn the_verdict_names_what_takes_longest() {
        let timing = Timing {
            read: 0.1,
            decode: 1.0,
            prepare: 0.2,
            forward: 8.0,
            write: 0.7,
            load: 0.0,
            wall: 6.0,
            waited: Waited::default(),
            pictures: 10,
        };
        let told = |device: &str, timing| -> String {
            extraction(&extracted(device, timing)).map_or_else(String::new, |e| e["verdict"].as_str().unwrap().into())
        };
        assert!(told("cpu", timing).starts_with("The network takes 80.0"));
        assert!(told("cpu", Timing { read: 90.0, ..timing }).starts_with("Reading"));
        let waited = |device| Waited { device, ..Waited::default() };
        let busy = told("cuda:0,1", Timing { forward: 11.8, waited: waited(0.2), ..timing });
        assert!(busy.contains("busy 98"), "{busy}");
        assert!(
            told("cuda:0", Timing { forward: 3.0, waited: waited(3.0), ..timing })
                .contains("waited 50.0\u{202f}% of the time, mostly for `decode`")
        );
    }

    #[test]
    fn what_was_there_already_has_no_speed() {
        assert!(extraction(&extracted("cpu", Timing::default())).is_none());
        let data = ReportData { extracted: Some(extracted("cpu", Timing::default())), ..ReportData::default() };
        assert!(section(&data).is_none());
        let data = ReportData { seconds: vec![(crate::stages::StageId::Extract, 2.0)], ..data };
        assert!(section(&data).is_some_and(|section| section["note"].is_string() && section["extraction"].is_null()));
    }
}
