//! The number of threads for which there is memory beside the rows of the tables that are being filled.

use super::work::Place;
use crate::extractor::{Extractor, Needs};
use crate::io::features::writer_bytes;
use crate::memory::{self, Limit, NoRoom};
use crate::plan::Plan;
use crate::progress::{Ui, bytes};

/// Returns the number of threads that fit into memory, at most `wanted`. If `runtime.threads` is set and does not fit,
/// this is an error. The longest table has `rows` rows.
pub fn threads(
    plan: &Plan,
    extractor: &Extractor,
    Place { way, threads: wanted, .. }: Place,
    rows: usize,
    ui: &Ui,
) -> Result<usize, NoRoom> {
    let Some(limit) = memory::limit() else { return Ok(wanted) };
    let row = (extractor.width() * size_of::<f32>()) as u64;
    // one table is filled while another one is written
    let names = plan.columns();
    let tables = 2 * row * rows as u64 + writer_bytes(rows, plan.layout(&names));
    let own = way.needs(extractor);
    let under_way = 2 * row * extractor.micro_batch() as u64;
    let needs = Needs { fixed: own.fixed + tables, each: own.each + under_way };
    let most = needs.most(limit.bytes);
    if most >= wanted {
        return Ok(wanted);
    }
    if most > 0 && plan.pipeline.runtime.threads.is_none() {
        let each = bytes(needs.each);
        let text = format!("only {most} of {wanted} threads are started: each takes {each} of memory");
        ui.warn(&format!("{text}, and there are {limit}"));
        return Ok(most);
    }
    Err(refused(extractor, (needs, wanted), limit, (tables, rows)))
}

/// Makes an error that names the key which asks for too much memory.
fn refused(
    extractor: &Extractor,
    (needs, wanted): (Needs, usize),
    limit: &Limit,
    (tables, rows): (u64, usize),
) -> NoRoom {
    let most = needs.most(limit.bytes);
    let limit_of = |subject, needed, advice| NoRoom { subject, needed, limit: limit.clone(), advice };
    if most > 0 {
        let subject = format!("`runtime.threads`: the network on {wanted} threads");
        return limit_of(subject, needs.of(wanted), format!("write `threads: {most}`, or `auto`"));
    }
    if tables > limit.bytes / 2 {
        let subject = format!("`extract.shard_rows`: tables of {rows} rows and {} features", extractor.width());
        return limit_of(subject, tables, "write fewer rows, or leave it out".to_string());
    }
    extractor.no_room(needs, limit)
}
