//! What a process may have known: a write is wrong only when it is by none of the views that it may have had.

use super::{
    Checkers, DECISION_TAKES, EVICTIONS, VIEWS_KEPT, View, Waits, Write, availability, bake, foreign,
    hand_over, held, removals, way_back, weights,
};
use crate::world::server::Server;
use headgate_driver::resources::REPLICA_SETS;
use jiff::Timestamp;
use std::collections::VecDeque;

type Rule = fn(&Write<'_>, &View) -> Result<(), String>;

const BY_VIEW: [(&str, Rule); 6] = [
    ("1 weights", weights::check),
    ("2 removals", removals::check),
    ("2 hand-over", hand_over::check),
    ("3 availability", availability::check),
    ("4 way back", way_back::check),
    ("5 held", held::check),
];

impl Checkers {
    /// Holds a write against what its process may have known when it decided.
    pub(super) fn judge_by_knowledge(&mut self, write: &Write<'_>, server: &Server, now: Timestamp) {
        let since = write.known_until.min(write.sent_at).saturating_sub(DECISION_TAKES).unwrap_or(now);
        if self.crossing.written(write, self.views.back().map(|(_, view)| view), now) {
            self.allowance.fault(now, now);
        }
        let desired = self.views_since(since).map(|view| view.desired).min().unwrap_or(0);
        if self.waits == Waits::Stored {
            self.judge("bake", bake::check(write, server, desired), now);
        }
        let foreign = self.is_foreign_left_alone(write, since);
        self.judge("7 foreign", foreign, now);
        self.judge_by_views(write, since, now);
        let views: Vec<View> = self.views_since(since).cloned().collect();
        let views: Vec<&View> = views.iter().collect();
        let drained = self.shares.check(write, &views, &self.clocks, now);
        self.judge("2 drain", drained, now);
        let acknowledged = self.acknowledged.check(write, &views, server);
        self.judge("2 acknowledged", acknowledged, now);
        let on_time = self.way.written(write, &views);
        if self.waits == Waits::Stored {
            self.judge("9 deadline", on_time, now);
        }
    }

    /// Holds a write against the views that its process may have had, and, where it has evicted pods, against the same without
    /// them.
    fn judge_by_views(&mut self, write: &Write<'_>, since: Timestamp, now: Timestamp) {
        let evicted = self.counted.gone_for(write.process, write.sent_at);
        let views: Vec<&View> = self.views_for(write, since).collect();
        let fewer: Vec<View> = match evicted.as_slice() {
            [] => Vec::new(),
            evicted => views.iter().map(|view| view.without(evicted, &self.known)).collect(),
        };
        let fewer: Vec<&View> = fewer.iter().collect();
        let mut found = Vec::new();
        for (rule, check) in BY_VIEW {
            found.push((rule, self.by_some_view(write, &views, since, check)));
            if !fewer.is_empty() {
                found.push((EVICTIONS, self.by_some_view(write, &fewer, since, check)));
            }
        }
        for (rule, fits) in found {
            self.judge(rule, fits, now);
        }
    }

    /// A write is right as soon as it is by one of these views.
    fn by_some_view(
        &self,
        write: &Write<'_>,
        views: &[&View],
        since: Timestamp,
        check: Rule,
    ) -> Result<(), String> {
        let fits = |view: &View| check(write, view).is_ok();
        // Each kind comes by its own watch, so what is known may be a mixture of instants.
        let with_sets = |view: &&View| views.first().map(|newest| newest.with_sets_of(view));
        let is_right = views.iter().any(|view| fits(view))
            || views.iter().filter_map(with_sets).any(|view| fits(&view))
            || View::with_one_set_ahead(views, &self.read_live(write, views, since)).any(|view| fits(&view))
            || self.refusals.is_unrecorded(write) && views.iter().any(|view| fits(&view.unrecorded()));
        if is_right {
            return Ok(());
        }
        View::most_favourable(views).map_or(Ok(()), |view| check(write, &view))
    }

    /// What is ours is what the Rollout named at some time since then: a user may take a router away while a write to its
    /// route is on its way.
    fn is_foreign_left_alone(&self, write: &Write<'_>, since: Timestamp) -> Result<(), String> {
        let by_last_names = foreign::check(write, self.names.as_ref());
        let is_right =
            || self.views_for(write, since).any(|view| foreign::check(write, Some(&view.names)).is_ok());
        if by_last_names.is_err() && is_right() { Ok(()) } else { by_last_names }
    }

    /// The ReplicaSets that the process of a write has read live since then: they are ahead of what its watch tells of the
    /// others.
    fn read_live(&self, write: &Write<'_>, views: &[&View], since: Timestamp) -> Vec<String> {
        let sets = views.first().into_iter().flat_map(|view| &view.sets);
        let read = sets.filter(|set| self.told.has_told(write, REPLICA_SETS, &set.name, since));
        read.map(|set| set.name.clone()).collect()
    }

    /// The views that held at some time since then, the latest first.
    pub(super) fn views_since(&self, since: Timestamp) -> impl Iterator<Item = &View> {
        held_since(self.views.iter().rev(), since)
    }

    /// The same for a write. A process that had not been told of this Rollout decided for one before it.
    fn views_for(&self, write: &Write<'_>, since: Timestamp) -> impl Iterator<Item = &View> {
        let told_until = write.known_until.min(write.sent_at);
        let is_of_former = self.views.front().is_some_and(|(first, _)| told_until < *first);
        let former = self.former.iter().rev().filter(move |_| is_of_former);
        held_since(self.views.iter().rev().chain(former), since)
    }
}

/// Forgets views that held only until long ago.
pub(super) fn forget_old(views: &mut VecDeque<(Timestamp, View)>, now: Timestamp) {
    while views.get(1).is_some_and(|(time, _)| now.duration_since(*time) > VIEWS_KEPT) {
        views.pop_front();
    }
}

/// Those that held at some time since then; they come the latest first.
fn held_since<'a>(
    views: impl Iterator<Item = &'a (Timestamp, View)>,
    since: Timestamp,
) -> impl Iterator<Item = &'a View> {
    let mut before = false;
    views.map_while(move |(time, view)| {
        let is_last = std::mem::replace(&mut before, *time <= since);
        (!is_last).then_some(view)
    })
}
