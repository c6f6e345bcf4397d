//! Letting go of what a stage has committed: it is computed anew, a file of it is damaged, or the configuration has it
//! no longer.

use std::io::ErrorKind;
use std::path::Path;

use crate::error::Error;
use crate::io::IoError;
use crate::plan::Plan;
use crate::progress::Ui;
use crate::stage::StageId;
use crate::store::{Record, RunDir};
use crate::terminal::printable;

/// The stage that has written a file of the run.
pub fn stage_of(dir: &RunDir, path: &Path) -> Option<StageId> {
    let named = |stage: &StageId| Record::read(dir, *stage).is_some_and(|record| record.file(dir, path).is_some());
    // while `extract` is at work there is no record of it
    let is_table = path.parent() == Some(&*dir.features());
    StageId::ALL.into_iter().find(named).or(is_table.then_some(StageId::Extract))
}

/// Removes a damaged file and the record of its stage, so that the stage makes it anew.
pub fn damaged(plan: &Plan, stage: StageId, path: &Path, ui: &Ui) -> Result<(), Error> {
    let name = plan.dir.name_of(path);
    let text = "is damaged, its contents are not those that were written";
    ui.warn(&format!("{} {text}: `{}` makes it anew", printable(&name), stage.name()));
    if let Some(path) = plan.dir.own_file(&name) {
        std::fs::remove_file(&path).map_err(IoError::write(&path))?;
    }
    self::stage(plan, stage)
}

/// Removes what a stage has committed: its files are nobody's until they are committed again. An extraction keeps its
/// tables, which may still be good, and what it will write in any case.
pub fn stage(plan: &Plan, stage: StageId) -> Result<(), Error> {
    let dir = &plan.dir;
    if let Some(mut record) = Record::read(dir, stage) {
        // what another stage has written since, as `compare` writes a table that was the report's, is not this one's
        // any more
        let others = StageId::ALL.into_iter().filter(|&other| other != stage);
        let others: Vec<Record> = others.filter_map(|other| Record::read(dir, other)).collect();
        record.files.retain(|file| !others.iter().flat_map(|other| &other.files).any(|o| o.file == file.file));
        if stage == StageId::Extract {
            let stays = plan.writes(stage, 0);
            record.files.retain(|file| !file.file.starts_with("features/") && !stays.contains(&file.file));
        }
        record.delete_files(dir);
    }
    match std::fs::remove_file(dir.record(stage)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(IoError::write(&dir.record(stage))(error).into()),
        _ => Ok(()),
    }
}
