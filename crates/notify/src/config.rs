//! Which webhooks there are and what they are told: a YAML (or JSON) file.
//!
//! Addresses and headers may be secrets. They are never shown: not by `Debug`, and not in an error.

use crate::Trigger;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// More webhooks than these are refused: each is told of each Rollout.
const WEBHOOKS_MAX: usize = 16;
/// A name is a label of metrics and a part of messages.
const NAME_BYTES_MAX: usize = 63;
/// Headers that are set by Headgate itself.
const OWN_HEADERS: [&str; 4] = ["content-type", "content-length", "host", "idempotency-key"];

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// How the cluster is called in messages.
    pub cluster: Option<String>,
    /// The webhooks, in order.
    pub webhooks: Vec<Webhook>,
}

/// One webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Its name, unique.
    pub name: String,
    /// Where to send.
    pub url: Given,
    /// Headers to send, by name.
    pub headers: BTreeMap<String, Given>,
    /// What it is told; not empty.
    pub triggers: BTreeSet<Trigger>,
    /// Of Rollouts in which namespaces; empty: all. A `*` at the end stands for anything.
    pub namespaces: Vec<String>,
}

/// A text that may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Given {
    /// It stands in the file.
    Here(String),
    /// It is the content of this file, relative to the directory of the configuration.
    InFile(String),
}

impl fmt::Debug for Given {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here(_) => out.write_str("***"),
            Self::InFile(path) => write!(out, "file {path:?}"),
        }
    }
}

/// Who wants to know what: all that decisions need of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscriptions {
    /// How the cluster is called in messages.
    pub cluster: Option<String>,
    /// The services, in order.
    pub services: Vec<Subscription>,
}

/// What one service is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Name of the service.
    pub service: String,
    /// What it is told.
    pub triggers: BTreeSet<Trigger>,
    /// Of Rollouts in which namespaces; empty: all.
    pub namespaces: Vec<String>,
}

impl Subscriptions {
    /// Whether anybody wants to know this of Rollouts in this namespace.
    #[must_use]
    pub fn wants(&self, trigger: Trigger, namespace: &str) -> bool {
        self.wanting(trigger, namespace).next().is_some()
    }

    /// The services that want to know this of Rollouts in this namespace.
    pub fn wanting<'a>(&'a self, trigger: Trigger, namespace: &'a str) -> impl Iterator<Item = &'a str> {
        let wants = move |one: &&Subscription| {
            one.triggers.contains(&trigger)
                && (one.namespaces.is_empty()
                    || one.namespaces.iter().any(|pattern| fits(pattern, namespace)))
        };
        self.services.iter().filter(wants).map(|one| one.service.as_str())
    }
}

fn fits(pattern: &str, namespace: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == namespace, |start| namespace.starts_with(start))
}

/// What is wrong with the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where: a path such as `webhooks[0].url`, or a line.
    pub place: String,
    /// What, and how to mend it.
    pub problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.place, self.problem)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads the file.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let value: Value = serde_saphyr::from_str(text).map_err(|error| {
            // The error itself quotes the text around it.
            let place = error.without_snippet().location();
            let place = place.map_or("the file".to_owned(), |place| format!("line {}", place.line()));
            wrong(&place, "this is no YAML: correct it")
        })?;
        let file = Fields::of(&value, "", &["cluster", "webhooks"])?;
        let list = file.list("webhooks")?;
        if list.len() > WEBHOOKS_MAX {
            return Err(wrong(
                "webhooks",
                &format!("there are {}, at most {WEBHOOKS_MAX} are allowed", list.len()),
            ));
        }
        let mut webhooks: Vec<Webhook> = Vec::new();
        for (index, value) in list.iter().enumerate() {
            let place = format!("webhooks[{index}]");
            let webhook = webhook(value, &place)?;
            if webhooks.iter().any(|known| known.name == webhook.name) {
                return Err(wrong(
                    &format!("{place}.name"),
                    &format!("{:?} is there twice: choose another name", webhook.name),
                ));
            }
            webhooks.push(webhook);
        }
        Ok(Self {
            cluster: file.text("cluster")?.filter(|name| !name.is_empty()).map(str::to_owned),
            webhooks,
        })
    }

    /// What decisions need of it.
    #[must_use]
    pub fn subscriptions(&self) -> Subscriptions {
        let services = self.webhooks.iter().map(|webhook| Subscription {
            service: webhook.name.clone(),
            triggers: webhook.triggers.clone(),
            namespaces: webhook.namespaces.clone(),
        });
        Subscriptions { cluster: self.cluster.clone(), services: services.collect() }
    }
}

fn webhook(value: &Value, place: &str) -> Result<Webhook, ConfigError> {
    let known = ["name", "url", "urlFile", "headers", "headerFiles", "triggers", "namespaces"];
    let fields = Fields::of(value, place, &known)?;
    let mut headers = BTreeMap::new();
    for (field, of) in [("headers", Given::Here as fn(String) -> Given), ("headerFiles", Given::InFile)] {
        for (name, text) in fields.texts(field)? {
            let place = fields.place(field);
            header_name(&name, &place)?;
            let lower = name.to_ascii_lowercase();
            if headers.keys().any(|known: &String| known.to_ascii_lowercase() == lower) {
                return Err(wrong(&place, &format!("header {name:?} is there twice")));
            }
            headers.insert(name, of(text));
        }
    }
    Ok(Webhook {
        name: name(&fields)?,
        url: url(&fields)?,
        headers,
        triggers: triggers(&fields)?,
        namespaces: namespaces(&fields)?,
    })
}

fn name(fields: &Fields<'_>) -> Result<String, ConfigError> {
    let name = fields.text("name")?.unwrap_or_default();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(plain) {
        let problem = format!(
            "{name:?} is no name of a webhook: give one of 1 to {NAME_BYTES_MAX} lower case letters, digits and '-'"
        );
        return Err(wrong(&fields.place("name"), &problem));
    }
    Ok(name.to_owned())
}

fn url(fields: &Fields<'_>) -> Result<Given, ConfigError> {
    match (fields.text("url")?, fields.text("urlFile")?) {
        (Some(url), None) => {
            let is_http = ["http://", "https://"].iter().any(|start| url.starts_with(start));
            // The address itself is not shown: it may hold a secret.
            is_http
                .then(|| Given::Here(url.to_owned()))
                .ok_or_else(|| wrong(&fields.place("url"), "it must begin with https:// (or http://)"))
        }
        (None, Some(path)) if !path.is_empty() => Ok(Given::InFile(path.to_owned())),
        (Some(_), Some(_)) => Err(wrong(&fields.place("url"), "there is a urlFile, too: give one of them")),
        (None, _) => {
            Err(wrong(&fields.place("url"), "missing: give url, or urlFile with the path of a file"))
        }
    }
}

fn triggers(fields: &Fields<'_>) -> Result<BTreeSet<Trigger>, ConfigError> {
    let all = Trigger::ALL.map(Trigger::as_str).join(", ");
    let Some(names) = fields.names("triggers")? else { return Ok(Trigger::ALL.into()) };
    let place = fields.place("triggers");
    let trigger = |name: &&str| {
        Trigger::named(name)
            .ok_or_else(|| wrong(&place, &format!("there is no trigger {name:?}, only {all}")))
    };
    let triggers = names.iter().map(trigger).collect::<Result<BTreeSet<_>, _>>()?;
    if triggers.is_empty() {
        return Err(wrong(
            &place,
            &format!("the list is empty: name some of {all}, or leave it out for all"),
        ));
    }
    Ok(triggers)
}

fn namespaces(fields: &Fields<'_>) -> Result<Vec<String>, ConfigError> {
    let Some(names) = fields.names("namespaces")? else { return Ok(Vec::new()) };
    let place = fields.place("namespaces");
    if names.is_empty() {
        return Err(wrong(&place, "the list is empty: name namespaces, or leave it out for all"));
    }
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    for pattern in &names {
        let start = pattern.strip_suffix('*').unwrap_or(pattern);
        if pattern.is_empty() || !start.chars().all(plain) {
            let problem = format!("{pattern:?} is no namespace; the only wildcard is a * at the end");
            return Err(wrong(&place, &problem));
        }
    }
    Ok(names.into_iter().map(str::to_owned).collect())
}

fn header_name(name: &str, place: &str) -> Result<(), ConfigError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(plain) {
        return Err(wrong(place, &format!("{name:?} is no name of an HTTP header")));
    }
    if OWN_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
        return Err(wrong(place, &format!("header {name:?} is set by Headgate: leave it out")));
    }
    Ok(())
}

fn wrong(place: &str, problem: &str) -> ConfigError {
    ConfigError { place: place.to_owned(), problem: problem.to_owned() }
}

/// The fields of one mapping and where it stands. Values are never quoted: they may be secrets.
struct Fields<'a> {
    fields: Option<&'a Map<String, Value>>,
    place: &'a str,
}

impl<'a> Fields<'a> {
    fn of(value: &'a Value, place: &'a str, known: &[&str]) -> Result<Self, ConfigError> {
        let here = if place.is_empty() { "the file" } else { place };
        let fields = match value {
            Value::Null => None,
            Value::Object(fields) => Some(fields),
            _ => return Err(wrong(here, &format!("it must be a mapping with {}", known.join(", ")))),
        };
        let unknown = fields.into_iter().flat_map(Map::keys).find(|field| !known.contains(&field.as_str()));
        match unknown {
            Some(field) => {
                Err(wrong(here, &format!("there is no field {field:?}, only {}", known.join(", "))))
            }
            None => Ok(Self { fields, place }),
        }
    }

    fn place(&self, field: &str) -> String {
        if self.place.is_empty() { field.to_owned() } else { format!("{}.{field}", self.place) }
    }

    fn get(&self, field: &str) -> Option<&'a Value> {
        self.fields?.get(field).filter(|value| !value.is_null())
    }

    fn text(&self, field: &str) -> Result<Option<&'a str>, ConfigError> {
        let text =
            |value: &'a Value| value.as_str().ok_or_else(|| wrong(&self.place(field), "it must be a text"));
        self.get(field).map(text).transpose()
    }

    fn list(&self, field: &str) -> Result<&'a [Value], ConfigError> {
        let list = |value: &'a Value| {
            value.as_array().map(Vec::as_slice).ok_or_else(|| wrong(&self.place(field), "it must be a list"))
        };
        self.get(field).map_or(Ok(&[][..]), list)
    }

    /// A list of texts; `None` when there is none.
    fn names(&self, field: &str) -> Result<Option<Vec<&'a str>>, ConfigError> {
        if self.get(field).is_none() {
            return Ok(None);
        }
        let name = |value: &'a Value| {
            value.as_str().ok_or_else(|| wrong(&self.place(field), "it must be a list of texts"))
        };
        self.list(field)?.iter().map(name).collect::<Result<_, _>>().map(Some)
    }

    /// A mapping of texts.
    fn texts(&self, field: &str) -> Result<Vec<(String, String)>, ConfigError> {
        let problem = || wrong(&self.place(field), "it must be a mapping of names to texts");
        let Some(value) = self.get(field) else { return Ok(Vec::new()) };
        let fields = value.as_object().ok_or_else(problem)?;
        let text = |(name, value): (&String, &Value)| {
            Ok((name.clone(), value.as_str().ok_or_else(problem)?.to_owned()))
        };
        fields.iter().map(text).collect()
    }
}
