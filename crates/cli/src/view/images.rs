//! The images that run, and what the versions that run them are.

use super::paint::{Text, Tone};
use super::replica_set::{Roles, Tag};
use super::scene::{Scene, annotation, is_owned};
use headgate_api::labels;
use k8s_openapi::api::apps::v1::ReplicaSet;
use std::collections::{BTreeMap, BTreeSet};

/// A word behind an image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Mark {
    word: String,
    tag: Option<Tag>,
}

/// The images of all versions that have pods, in order, each with its marks.
#[must_use]
pub fn images(scene: &Scene) -> Vec<Text> {
    let uid = scene.rollout.metadata.uid.as_ref();
    let roles = Roles::of(&scene.rollout);
    let mut images: BTreeMap<&str, BTreeSet<Mark>> = BTreeMap::new();
    for set in scene.replica_sets.iter().filter(|set| is_owned(&set.metadata, uid)) {
        let marks = roles.tags(set).into_iter().filter(|tag| !matches!(tag, Tag::Ping | Tag::Pong));
        let marks: Vec<_> = marks.map(|tag| Mark { word: tag.word().to_owned(), tag: Some(tag) }).collect();
        for image in running_images(set) {
            images.entry(image).or_default().extend(marks.iter().cloned());
        }
    }
    for experiment in scene.experiments.iter().filter(|one| is_owned(&one.metadata, uid)) {
        let uid = experiment.metadata.uid.as_ref();
        for set in scene.replica_sets.iter().filter(|set| is_owned(&set.metadata, uid)) {
            let template = annotation(&set.metadata, labels::EXPERIMENT_TEMPLATE_NAME).unwrap_or_default();
            let mark = Mark { word: format!("Σ:{template}"), tag: None };
            for image in running_images(set) {
                images.entry(image).or_default().insert(mark.clone());
            }
        }
    }
    images.into_iter().map(|(image, marks)| line(image, marks)).collect()
}

fn running_images(set: &ReplicaSet) -> Vec<&str> {
    if set.status.as_ref().is_none_or(|status| status.replicas == 0) {
        return vec![];
    }
    let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
    let containers = template.and_then(|template| template.spec.as_ref()).map(|spec| &spec.containers);
    containers.into_iter().flatten().filter_map(|container| container.image.as_deref()).collect()
}

fn line(image: &str, marks: BTreeSet<Mark>) -> Text {
    if marks.is_empty() {
        return image.into();
    }
    let marks = marks.into_iter().map(|mark| {
        let tone = mark.tag.map_or(Tone::Plain, Tag::tone);
        Text::toned(mark.word, tone)
    });
    Text::from(format!("{image} (")).then(Text::joined(marks.collect(), ", ")).then(")")
}
