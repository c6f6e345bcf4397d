//! Removes the committed files of a stage if it is computed again, if one of its files is damaged, or if it is no
//! longer configured.

use std::io::ErrorKind;
use std::path::Path;

use crate::error::Error;
use crate::io::IoError;
use crate::plan::Plan;
use crate::progress::Ui;
use crate::stage::StageId;
use crate::store::{Record, RunDir};
use crate::terminal::printable;

/// The stage that wrote a file of the run.
pub fn stage_of(dir: &RunDir, path: &Path) -> Option<StageId> {
    let named = |stage: &StageId| Record::read(dir, *stage).is_some_and(|record| record.file(dir, path).is_some());
    // a table may belong to an extraction that is not committed
    let is_table = path.parent() == Some(&*dir.features());
    StageId::ALL.into_iter().find(named).or(is_table.then_some(StageId::Extract))
}

/// Removes a damaged file and the record of its stage, so that the stage is computed again.
pub fn damaged(plan: &Plan, stage: StageId, path: &Path, ui: &Ui) -> Result<(), Error> {
    let name = plan.dir.name_of(path);
    let text = "is damaged, its contents are not those that were written";
    ui.warn(&format!("{} {text}: `{}` makes it anew", printable(&name), stage.name()));
    if let Some(path) = plan.dir.own_file(&name) {
        std::fs::remove_file(&path).map_err(IoError::write(&path))?;
    }
    self::stage(plan, stage, ui)
}

/// Renames `relabel.csv` if the user has changed it, so that corrected labels are not lost.
fn keep_mended(record: &Record, dir: &RunDir, ui: &Ui) -> Result<(), Error> {
    let path = dir.relabel();
    let Some(file) = record.file(dir, &path) else { return Ok(()) };
    if !path.is_file() || file.check(dir).is_ok() {
        return Ok(());
    }
    let named = |i: usize| path.with_file_name(format!("relabel.mended-{i}.csv"));
    let Some(kept) = (1..).map(named).find(|kept| !kept.exists()) else { return Ok(()) };
    std::fs::rename(&path, &kept).map_err(IoError::write(&kept))?;
    ui.warn(&format!("relabel.csv was changed: it is {} now, and `compare` writes a new one", kept.display()));
    Ok(())
}

/// Removes the record and the files of a stage. An extraction keeps its tables, which may be reused, and the files that
/// it will write in any case.
pub fn stage(plan: &Plan, stage: StageId, ui: &Ui) -> Result<(), Error> {
    let dir = &plan.dir;
    if let Some(mut record) = Record::read(dir, stage) {
        // a file that another stage has written since then does not belong to this stage any more: in earlier versions
        // the report wrote the table that `compare` writes now
        let others = StageId::ALL.into_iter().filter(|&other| other != stage);
        let others: Vec<Record> = others.filter_map(|other| Record::read(dir, other)).collect();
        record.files.retain(|file| !others.iter().flat_map(|other| &other.files).any(|o| o.file == file.file));
        if stage == StageId::Extract {
            let stays = plan.writes(stage, 0);
            record.files.retain(|file| !file.file.starts_with("features/") && !stays.contains(&file.file));
        }
        keep_mended(&record, dir, ui)?;
        record.delete_files(dir);
    }
    match std::fs::remove_file(dir.record(stage)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(IoError::write(&dir.record(stage))(error).into()),
        _ => Ok(()),
    }
}
