//! `featurize plan`: shows the stages that a run would compute, without computing them.

use super::{PipelineArgs, StoreArgs, print};
use crate::config::Precision;
use crate::error::Error;
use crate::exec::{self, Device};
use crate::pipeline::{self, Keys};
use crate::plan::Plan;
use crate::progress::{Ui, plural};
use crate::stage::Options;
use crate::stages::report::formatting;
use crate::stages::scan::{Listing, Split};
use crate::stages::{StageId, extract, scan};
use crate::store::Owner;
use crate::terminal::{printable, printable_path};
use crate::weights::CheckpointKey;

/// Shows the plan.
pub fn run(arguments: &PipelineArgs, store: &StoreArgs) -> Result<(), Error> {
    let ui = Ui::silent();
    let plan = arguments.plan(store, true, &ui)?;
    Owner::of(&plan.dir).check_name(&plan.pipeline.name)?;
    let mut listing = scan::run::<Error>(&plan, false, None, &ui)?;
    extract::resolve(&plan, &mut listing, &ui)?;
    extract::find_ranges(&plan, &Options::default())?;
    let keys = Keys::of(&plan, &listing)?;
    let device = Device::open(plan.pipeline.runtime.device())?;
    print(&describe(&plan, &listing, &device))?;
    print("  stages")?;
    let mut above: Option<StageId> = None;
    for stage in keys.stages() {
        let state = state(&plan, &listing, &keys, stage, above)?;
        // `scan` is not named as a changed input, since a changed listing is a changed input of `extract`
        if state.is_some() && stage != StageId::Scan {
            above = above.or(Some(stage));
        }
        let text = state.unwrap_or_else(|| "done".to_string());
        print(&format!("    {:<9} {text}", stage.name()))?;
    }
    if listing.classes.is_empty() && plan.pipeline.train.is_some() {
        print("    train     left out: the pictures have no labels")?;
    }
    if let Err(error) = pipeline::check(&plan, &listing, None, &ui) {
        print(&format!("  a run would stop with\n    {error}"))?;
    }
    Ok(())
}

fn describe(plan: &Plan, listing: &Listing, device: &Device) -> String {
    let backbone = &plan.backbone;
    let shape: Vec<String> = backbone.shape().dims().iter().map(ToString::to_string).collect();
    let counts = |split| listing.counts(split).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let classes = match listing.classes.as_slice() {
        [] => "no labels".to_string(),
        some if some.len() <= 12 => {
            format!("{} ({})", plural(some.len(), "class"), printable(&some.join(", ")))
        }
        many => plural(many.len(), "class"),
    };
    let mut lines = vec![
        format!("{} → {}", printable_path(&plan.pipeline.file), printable_path(plan.dir.root())),
        format!("  model     {}, weights {}, after {}", backbone.title, backbone.weights.describe(), backbone.after()),
        weights_key(&backbone.taken),
        format!("  features  layer {}, {} → ({})", backbone.layers(), plan.features_word(), shape.join(", ")),
        format!("  precision {}", precision(backbone.precision, device)),
        format!("  image     {}", formatting::decoding(&backbone.decoding)),
        format!("  recipe    {}", formatting::recipe(&backbone.recipe)),
        format!("  device    {} (runtime.device: {})", device.name(), plan.pipeline.runtime.device),
        format!(
            "  images    {}: {} train, {} test, {classes}",
            listing.len(),
            listing.len_of(Split::Train),
            listing.len_of(Split::Test)
        ),
    ];
    lines.retain(|line| !line.is_empty());
    if !listing.classes.is_empty() && listing.classes.len() <= 12 {
        lines.push(format!("            per class: train {}; test {}", counts(Split::Train), counts(Split::Test)));
    }
    if listing.len_aside() > 0 {
        let told = |failed: bool| {
            let kinds = listing.kinds(failed);
            let total: usize = kinds.values().sum();
            if total == 0 { total.to_string() } else { format!("{total} ({})", scan::counted(kinds.into_iter())) }
        };
        lines.push(format!("  others    skipped {}, failed {}", told(false), told(true)));
    }
    lines.join("\n")
}

/// The key of the weights in their file, if the file has several networks.
fn weights_key(taken: &CheckpointKey) -> String {
    taken.told().map_or(String::new(), |told| format!("            {told}"))
}

/// The reason why a stage would run; none if it is done.
fn state(
    plan: &Plan,
    listing: &Listing,
    keys: &Keys,
    stage: StageId,
    above: Option<StageId>,
) -> Result<Option<String>, Error> {
    let Some(reason) = keys.why(plan, stage, above) else { return Ok(None) };
    if stage != StageId::Extract {
        return Ok(Some(reason));
    }
    let missing = extract::missing(plan, listing)?;
    let kept = if missing.kept > 0 { format!(", {} are there already", missing.kept) } else { String::new() };
    let (of, pictures) = (plural(missing.of, "shard"), plural(missing.pictures, "image"));
    Ok(Some(format!("{reason}; {} of {of} to compute ({pictures}{kept})", missing.shards)))
}

/// The precision, with a note on its speed where the device is this CPU.
fn precision(precision: Precision, device: &Device) -> String {
    let note =
        exec::lacking(precision).filter(|_| device.is_cpu()).map_or(String::new(), |reason| format!(" ({reason})"));
    format!("{}{note}", precision.word())
}
