//! Places for measurements on their way: a provider that hangs holds up nobody who asks another, and a namespace that asks
//! too much leaves places to the others, also at its own host.
//!
//! Who finds no place holds none: it waits in the line of its lane and decides again when it has its turn, so that it
//! then asks for the present time.

use crate::options::Limits;
use crate::outbox::TaskKey;
use headgate_model::{HttpQuery, Query, SecretRef};
use std::collections::{BTreeMap, VecDeque};

/// Whom a measurement is taken for and who is asked: each of them has a limit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lane {
    host: String,
    namespace: String,
}

/// Who waits in one lane, in order.
#[derive(Debug)]
struct Line {
    /// When it had its last turn, or began; a number that grows.
    since: u64,
    runs: VecDeque<TaskKey>,
}

/// Taken places, by who holds them.
#[derive(Debug)]
struct Held<K>(BTreeMap<K, usize>);

/// All places.
#[derive(Debug, Default)]
pub(crate) struct Places {
    taken: usize,
    by_host: Held<String>,
    by_namespace: Held<String>,
    by_lane: Held<Lane>,
    lines: BTreeMap<Lane, Line>,
    /// Turns so far.
    turns: u64,
    /// Whose turn it is: they may take one place, and leave the others to those after them.
    turn: Option<Lane>,
    /// A place was released, and some of those who wait may still be able to use it.
    is_released: bool,
}

impl Lane {
    pub(crate) fn new(namespace: &str, query: &Query) -> Self {
        let Query::Http(query) = query;
        Self { host: host(namespace, query), namespace: namespace.to_owned() }
    }
}

impl<K> Default for Held<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone> Held<K> {
    fn by(&self, holder: &K) -> usize {
        self.0.get(holder).copied().unwrap_or_default()
    }

    fn add(&mut self, holder: &K) {
        *self.0.entry(holder.clone()).or_default() += 1;
    }

    fn remove(&mut self, holder: &K) {
        let left = self.by(holder).saturating_sub(1);
        if left == 0 {
            self.0.remove(holder);
        } else {
            self.0.insert(holder.clone(), left);
        }
    }
}

impl Places {
    /// Takes a place, or lets the run wait for one.
    pub(crate) fn take(&mut self, lane: &Lane, limits: &Limits, run: &TaskKey) -> bool {
        let may_take = !self.is_released || self.turn.take_if(|turn| turn == lane).is_some();
        if !may_take || !self.has_room(lane, limits) {
            self.wait(lane, run);
            return false;
        }
        self.taken += 1;
        self.by_host.add(&lane.host);
        self.by_namespace.add(&lane.namespace);
        self.by_lane.add(lane);
        true
    }

    fn has_room(&self, lane: &Lane, limits: &Limits) -> bool {
        let of_namespace = self.by_namespace.by(&lane.namespace);
        // A host that hangs leaves as many places to the other hosts of its namespace as it holds.
        let left = limits.measurements_per_namespace.saturating_sub(of_namespace);
        // The first is always granted: however many hosts hang, a namespace that asks another goes on.
        let is_spare = self.taken < limits.measurements_total || of_namespace == 0;
        is_spare && self.by_lane.by(lane) < left && self.by_host.by(&lane.host) < limits.measurements_per_host
    }

    fn wait(&mut self, lane: &Lane, run: &TaskKey) {
        if !self.lines.contains_key(lane) {
            self.turns += 1;
            self.lines.insert(lane.clone(), Line { since: self.turns, runs: VecDeque::new() });
        }
        if let Some(line) = self.lines.get_mut(lane)
            && !line.runs.contains(run)
        {
            line.runs.push_back(run.clone());
        }
    }

    /// The measurement has come to its end.
    pub(crate) fn release(&mut self, lane: &Lane) {
        self.taken = self.taken.saturating_sub(1);
        self.by_host.remove(&lane.host);
        self.by_namespace.remove(&lane.namespace);
        self.by_lane.remove(lane);
        self.is_released = true;
    }

    /// The next run that waits and for which there is a place. It waits no longer: it takes the place, or leaves it to the
    /// next. Lanes take turns, so that the many of one namespace do not delay the few of another at the same host.
    pub(crate) fn next(&mut self, limits: &Limits) -> Option<TaskKey> {
        self.turn = None;
        if !self.is_released {
            return None;
        }
        let open = self.lines.iter().filter(|(lane, _)| self.has_room(lane, limits));
        let Some(lane) = open.min_by_key(|(_, line)| line.since).map(|(lane, _)| lane.clone()) else {
            self.is_released = false;
            return None;
        };
        let mut line = self.lines.remove(&lane)?;
        let run = line.runs.pop_front();
        if !line.runs.is_empty() {
            self.turns += 1;
            self.lines.insert(lane.clone(), Line { since: self.turns, ..line });
        }
        self.turn = Some(lane);
        run
    }

    /// Whether there may be a place for somebody who waits.
    pub(crate) fn is_any_due(&self) -> bool {
        self.is_released && !self.lines.is_empty()
    }

    /// The run is gone.
    pub(crate) fn forget(&mut self, run: &TaskKey) {
        self.lines.retain(|_, line| {
            line.runs.retain(|waiting| waiting != run);
            !line.runs.is_empty()
        });
    }

    /// Measurements on their way.
    pub(crate) fn taken(&self) -> usize {
        self.taken
    }

    /// Runs that wait, once for each host.
    pub(crate) fn waiting(&self) -> usize {
        self.lines.values().map(|line| line.runs.len()).sum()
    }
}

/// The host of a query's URL. One that a Secret holds is known to the shell alone: the Secret's name stands for it, and
/// that of its namespace, because another's Secret of the same name holds another host.
fn host(namespace: &str, HttpQuery { url, secrets, .. }: &HttpQuery) -> String {
    let url = secrets.iter().fold(url.clone(), |url, (placeholder, SecretRef { name, key })| {
        url.replace(placeholder, &format!("${namespace}.{name}.{key}"))
    });
    let schemes = ["http://", "https://"];
    let rest = schemes.iter().find_map(|scheme| url.strip_prefix(scheme)).unwrap_or(&url);
    let authority = rest.split(['/', '\\', '?', '#']).next().unwrap_or_default();
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    let host = match place.rsplit_once(':') {
        Some((host, _port)) if !place.ends_with(']') => host,
        _ => place,
    };
    host.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use headgate_model::Method;

    const LIMITS: Limits = Limits {
        measurements_per_run: 8,
        measurements_total: 10,
        measurements_per_host: 3,
        measurements_per_namespace: 4,
        notifications_per_service: 4,
        events_per_minute: 30,
        decisions_per_poll: 256,
    };

    fn lane(namespace: &str, host: &str) -> Lane {
        Lane { host: host.to_owned(), namespace: namespace.to_owned() }
    }

    fn run(namespace: &str, name: &str) -> TaskKey {
        TaskKey::Run((namespace.to_owned(), name.to_owned()))
    }

    /// So many places as this lane gets.
    fn fill(places: &mut Places, lane: &Lane) -> usize {
        (0..).take_while(|_| places.take(lane, &LIMITS, &run(&lane.namespace, "fills"))).count()
    }

    fn host_of(url: &str) -> String {
        let secret = SecretRef { name: "prom".to_owned(), key: "host".to_owned() };
        let query = HttpQuery {
            method: Method::Get,
            url: url.to_owned(),
            headers: Vec::new(),
            body: None,
            timeout_seconds: 30,
            insecure: false,
            secrets: [("\u{1}secret:0\u{1}".to_owned(), secret)].into(),
        };
        Lane::new("shop", &Query::Http(query)).host
    }

    #[test]
    fn a_host_is_the_same_with_every_path_port_and_user() {
        for url in [
            "http://prom",
            "https://PROM:9090/api/v1/query?query=up",
            "http://me:p%40ss@prom:9090/x@y",
            "http://prom?tenant=a/b:c@d",
        ] {
            assert_eq!(host_of(url), "prom", "{url}");
        }
        assert_eq!(host_of("http://[::1]:9090/api"), "[::1]");
        assert_eq!(host_of("http://[::1]/api"), "[::1]");
    }

    #[test]
    fn a_host_in_a_secret_is_told_by_the_secret() {
        assert_eq!(host_of("\u{1}secret:0\u{1}/api/v1/query?query=up"), "$shop.prom.host");
        assert_eq!(host_of("http://\u{1}secret:0\u{1}:9090/api"), "$shop.prom.host");
        assert_eq!(host_of("http://\u{1}secret:0\u{1}@prom/api"), "prom");
    }

    #[test]
    fn a_host_has_its_limit_and_leaves_half_of_each_namespace_to_others() {
        let mut places = Places::default();
        assert_eq!(fill(&mut places, &lane("a", "one")), 2, "of four for this namespace");
        assert_eq!(fill(&mut places, &lane("b", "one")), 1, "the third for this host");
        assert_eq!(fill(&mut places, &lane("a", "another")), 1);
        assert_eq!(fill(&mut places, &lane("a", "a third")), 1);
        assert_eq!(fill(&mut places, &lane("a", "a fourth")), 0);
    }

    #[test]
    fn a_namespace_has_one_place_also_when_all_are_taken() {
        let mut places = Places::default();
        let got: Vec<usize> = (0..7)
            .map(|number| fill(&mut places, &lane(&format!("n{number}"), &format!("h{number}"))))
            .collect();
        assert_eq!(got, [2, 2, 2, 2, 2, 1, 1]);
    }

    #[test]
    fn lanes_take_turns_and_each_turn_is_one_place() {
        let mut places = Places::default();
        let (many, few) = (lane("a", "host"), lane("b", "host"));
        assert!((0..2).all(|_| places.take(&many, &LIMITS, &run("a", "first"))));
        assert!(places.take(&lane("c", "host"), &LIMITS, &run("c", "first")));
        for name in ["1", "2", "1", "3"] {
            assert!(!places.take(&many, &LIMITS, &run("a", name)));
        }
        assert!(!places.take(&few, &LIMITS, &run("b", "1")));
        assert_eq!((places.next(&LIMITS), places.waiting()), (None, 4), "nothing is released");
        places.release(&many);
        places.release(&many);
        assert_eq!(places.next(&LIMITS), Some(run("a", "1")));
        assert!(places.take(&many, &LIMITS, &run("a", "1")));
        assert!(!places.take(&many, &LIMITS, &run("a", "1")), "it wants more and has had its turn");
        assert_eq!(places.next(&LIMITS), Some(run("b", "1")));
        assert!(places.take(&few, &LIMITS, &run("b", "1")));
        assert_eq!(places.next(&LIMITS), None);
        places.release(&few);
        let rest: Vec<_> = std::iter::from_fn(|| places.next(&LIMITS)).collect();
        assert_eq!(rest, ["2", "3", "1"].map(|name| run("a", name)));
    }

    #[test]
    fn a_place_that_its_turn_does_not_use_goes_to_the_next() {
        let mut places = Places::default();
        let lane = lane("a", "host");
        fill(&mut places, &lane);
        places.forget(&run("a", "fills"));
        for name in ["1", "2", "3"] {
            places.take(&lane, &LIMITS, &run("a", name));
        }
        places.forget(&run("a", "2"));
        places.release(&lane);
        assert!(places.is_any_due());
        assert_eq!(places.next(&LIMITS), Some(run("a", "1")));
        assert_eq!(places.next(&LIMITS), Some(run("a", "3")));
        assert_eq!(places.next(&LIMITS), None);
        assert!(!places.is_any_due());
    }
}
