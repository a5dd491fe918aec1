//! R5: the version and the names of AnalysisRuns stand in the record before the object is created.

use super::Write;
use super::said::Said;
use crate::world::server::text;
use headgate_api::labels::POD_TEMPLATE_HASH;
use headgate_driver::resources::{ANALYSIS_RUNS, REPLICA_SETS};
use jiff::Timestamp;

pub(super) fn check(write: &Write<'_>, said: &Said, now: Timestamp) -> Result<(), String> {
    let (None, Some(after)) = (write.before, write.after) else { return Ok(()) };
    let name = &write.target.name;
    let statement = match write.target.resource {
        REPLICA_SETS => {
            format!("version {}", text(after, &format!("/metadata/labels/{POD_TEMPLATE_HASH}")))
        }
        ANALYSIS_RUNS => format!("names {name}"),
        _ => return Ok(()),
    };
    if said.lately(&statement, now) {
        return Ok(());
    }
    Err(format!("{} {name} is created, and no record has said {statement:?}", write.target.resource.kind))
}
