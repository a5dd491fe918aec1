use crate::Timestamp;
use headgate_api::Waiting;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// For what a rollout waits. Each wait has an end: a deadline with a policy, or a named act of the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// What kind of thing is awaited.
    pub on: WaitFor,
    /// One sentence for people. No moving numbers: a record may not change while nothing changes (R10).
    pub message: String,
    /// When the wait ends by itself, if it does.
    pub until: Option<Timestamp>,
    /// What ends it: what happens at `until`, or which act of the user, as a command where there is one.
    pub ends_with: String,
}

words! {
    /// The machine word of a wait (`status.waiting.kind`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum WaitFor {
        /// Pods of a version to become available.
        PodsAvailable,
        /// The end of a timed pause.
        PauseDuration,
        /// A user to promote.
        UserPromotion,
        /// A user to promote, for longer than the pause's `maxDuration`.
        PauseOverdue,
        /// A user to resume: `spec.paused` is set.
        UserUnpause,
        /// A user to look at an inconclusive analysis.
        InconclusiveAnalysis,
        /// A user to look at an analysis that has failed.
        AnalysisFailed,
        /// A fresh run of an analysis that has failed to be successful.
        AnalysisHold,
        /// The end of the bake.
        Bake,
        /// A user to look at an unhealthy pod.
        PodHealth,
        /// An analysis to come to a verdict.
        Analysis,
        /// The data plane, or the route object, to show the weights that were asked for.
        RouteConfirmed,
        /// `scaleDownDelaySeconds` or `abortScaleDownDelaySeconds` to pass.
        ScaleDownDelay,
        /// Old pods to be gone.
        OldPodsGone,
        /// Pods that are older than `spec.restartAt` to be replaced.
        Restart,
        /// A user to mend the spec, or something that it names.
        MendSpec,
        /// A user to retry, undo or release something else after an abort.
        AfterAbort,
        /// The API server to take what it refused: quota, RBAC, a webhook, an outage.
        ApiServer,
        /// An object that is in the way (name taken, being deleted).
        ObjectInTheWay,
    }
}

impl Wait {
    /// Whether `old` is this wait, whenever it began.
    pub fn is_recorded_as(&self, old: &Waiting) -> bool {
        old.kind == self.on.as_str() && old.message == self.message && old.ends_with == self.ends_with
    }

    /// The stored form of a wait that begins at this time, unless `old` is of the same kind and says the same: then it goes on.
    pub fn record(self, old: Option<&Waiting>, began: Timestamp) -> Waiting {
        let kind = self.on.as_str();
        let since = old
            .filter(|old| old.kind == kind && old.message == self.message)
            .and_then(|old| old.since.clone())
            .unwrap_or(Time(began));
        Waiting {
            kind: kind.to_owned(),
            message: self.message,
            since: Some(since),
            until: self.until.map(Time),
            ends_with: self.ends_with,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_says_of_each_word_what_is_waited_for() {
        let guide = include_str!("../../../docs/guide.md");
        let table = guide.split_once("| `status.waiting.kind` |").map(|(_, rest)| rest).unwrap();
        let rows = table.lines().skip(2).take_while(|line| line.starts_with("| "));
        let written: Vec<&str> = rows.filter_map(|row| row.split('`').nth(1)).collect();
        let words: Vec<&str> = WaitFor::ALL.iter().map(|wait| wait.as_str()).collect();
        assert_eq!(written, words);
    }
}
