//! The data plane: proxies that learn routes and selectors late, each at its own time, and send by what they know.

use super::plus;
use super::pods::Pods;
use super::routes::{self, Canary, Said, Weights};
use super::server::{Change, Server, text};
use crate::random::Random;
use crate::trace::Trace;
use headgate_api::At;
use headgate_api::labels::POD_TEMPLATE_HASH;
use headgate_driver::io::Resource;
use headgate_driver::resources::SERVICES;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};

#[derive(Debug)]
enum News {
    Route(Said),
    Selector(String, Option<String>),
}

struct Proxy {
    /// The kind of the routes that it reads.
    door: Resource,
    whole: Weights,
    canary: Option<Canary>,
    selectors: BTreeMap<String, Option<String>>,
    coming: VecDeque<(Timestamp, News)>,
}

/// All proxies.
pub struct Proxies {
    proxies: Vec<Proxy>,
    seen: usize,
    luck: Random,
    /// News takes so long at most, in milliseconds.
    delay_max: i64,
}

impl Proxy {
    fn at(door: Resource) -> Self {
        let (whole, canary, selectors, coming) = Default::default();
        Self { door, whole, canary, selectors, coming }
    }
}

/// What is lost is counted of so many requests: the smallest weight at one of several proxies is more than none.
pub const ALL: i64 = 1_000_000;

/// Requests that are lost at an instant.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Loss {
    /// Of [`ALL`] requests, over all proxies.
    pub share: i64,
    /// Where they were sent: Services and versions.
    pub to: Vec<String>,
}

impl Proxies {
    /// So many proxies at each door, that know nothing yet. A door is a kind of routes, and each gets the same share of the
    /// requests.
    pub fn new(count: usize, doors: &[Resource], luck: Random, delay_max: i64) -> Self {
        let proxies = doors.iter().flat_map(|door| (0..count).map(|_| Proxy::at(*door))).collect();
        Self { proxies, seen: 0, luck, delay_max }
    }

    /// Lets proxies learn what is due.
    pub fn advance(&mut self, server: &Server, trace: &mut Trace, now: Timestamp) {
        for (published, change) in server.history().iter().skip(self.seen) {
            for proxy in &mut self.proxies {
                let Some(news) = news(change, proxy.door) else { continue };
                let due = plus(*published, self.luck.between(10, self.delay_max));
                let due = proxy.coming.back().map_or(due, |(last, _)| due.max(*last));
                proxy.coming.push_back((due, news));
            }
        }
        self.seen = server.history().len();
        for (index, proxy) in self.proxies.iter_mut().enumerate() {
            while let Some((_, news)) = proxy.coming.pop_front_if(|(due, _)| *due <= now) {
                trace.say(format_args!("proxy {index}"), || format!("learns {news:?}"), now);
                match news {
                    News::Route(Said::Whole(weights)) => proxy.whole = weights,
                    News::Route(Said::Canary(canary)) => proxy.canary = canary,
                    News::Selector(service, hash) => {
                        proxy.selectors.insert(service, hash);
                    }
                }
            }
        }
    }

    /// When a proxy learns something next.
    pub fn next(&self) -> Option<Timestamp> {
        self.proxies.iter().filter_map(|proxy| proxy.coming.front().map(|(due, _)| *due)).min()
    }

    /// Where requests go now, and what is lost: the share that goes to a version without a pod that serves. `named`: the doors
    /// that the Rollout names. `forgotten`: what is not counted at the others.
    pub fn flow(&self, pods: &Pods, named: &[Resource], forgotten: Forgotten<'_>) -> Flow {
        let mut flow = Flow::default();
        let serving = pods.serving_by_version();
        let all: i64 = serving.values().sum();
        let proxies = i64::try_from(self.proxies.len()).unwrap_or(1).max(1);
        for proxy in &self.proxies {
            let canary = proxy.canary.as_ref();
            let weights = canary.map_or_else(|| proxy.whole.clone(), |canary| canary.over(&proxy.whole));
            let sum: i64 = weights.values().sum();
            let is_named = named.contains(&proxy.door);
            for (service, weight) in weights.iter().filter(|(_, weight)| **weight > 0) {
                let Some(hash) = proxy.selectors.get(service) else { continue };
                let share = 1000 * weight / sum.max(1) / proxies;
                match hash {
                    Some(hash) if serving.contains_key(hash.as_str()) => flow.give(hash, share),
                    None if all > 0 => {
                        for (hash, count) in &serving {
                            flow.give(hash, share * count / all);
                        }
                    }
                    _ if is_named || !forgotten.covers(service) => {
                        flow.lose(service, hash.as_deref(), ALL * weight / sum.max(1) / proxies);
                    }
                    _ => flow.loses_uncounted = true,
                }
            }
        }
        flow.loss.to.sort();
        flow.loss.to.dedup();
        flow
    }
}

/// What nobody can lead requests away from at a door that the Rollout no longer names.
#[derive(Clone, Copy, Debug)]
pub enum Forgotten<'a> {
    /// The stable Service, when the pods of the stable version have died.
    Service(&'a str),
    /// Everything: the Rollout was made anew, and the one that knew of the door is gone.
    Everything,
}

impl Forgotten<'_> {
    fn covers(self, service: &str) -> bool {
        match self {
            Self::Service(name) => name == service,
            Self::Everything => true,
        }
    }
}

/// Where requests go at an instant.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Flow {
    /// Of a thousand requests, by version.
    pub shares: BTreeMap<String, i64>,
    /// What is lost.
    pub loss: Loss,
    /// Whether something more is lost that is not counted: see [`Forgotten`].
    pub loses_uncounted: bool,
}

impl Flow {
    fn give(&mut self, hash: &str, per_mille: i64) {
        *self.shares.entry(hash.to_owned()).or_default() += per_mille;
    }

    fn lose(&mut self, service: &str, hash: Option<&str>, share: i64) {
        self.loss.share += share;
        self.loss.to.push(format!("{service}={}", hash.unwrap_or("any")));
    }
}

fn news(change: &Change, door: Resource) -> Option<News> {
    match change {
        Change::Applied(SERVICES, service) => {
            Some(News::Selector(text(service, "/metadata/name").to_owned(), selected(service)))
        }
        Change::Applied(kind, _) | Change::Deleted(kind, _) if *kind == door => {
            routes::said(change).map(News::Route)
        }
        Change::Applied(..) | Change::Deleted(..) => None,
    }
}

/// The version that a Service selects.
pub fn selected(service: &Value) -> Option<String> {
    service.at("/spec/selector")?.get(POD_TEMPLATE_HASH)?.as_str().map(str::to_owned)
}
