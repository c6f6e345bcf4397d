//! Pictures that are not on this machine: the objects of a bucket, and the URLs of a table.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use featurize_remote::Problem;
use featurize_remote::bucket::BucketError;

use super::first_eight;
use super::list::{Candidate, Found, folder_left_out, left_out};
use crate::pictures::source::Held;
use crate::pictures::source::remote::{self, Facts, is_url};
use crate::pictures::{Order, Stream, StreamError};
use crate::progress::{Interrupted, StageLine};

/// Why pictures elsewhere cannot be listed.
#[derive(Debug)]
pub enum RemoteError {
    Interrupted(Interrupted),
    /// The service is down.
    Down(String),
    /// The bucket is not to be listed as it stands.
    Wrong(String),
}

impl From<Interrupted> for RemoteError {
    fn from(interrupted: Interrupted) -> Self {
        Self::Interrupted(interrupted)
    }
}

impl From<BucketError> for RemoteError {
    fn from(error: BucketError) -> Self {
        match error {
            BucketError::Problem(Problem::Stopped) => Self::Interrupted(Interrupted),
            BucketError::Problem(problem) => Self::Down(problem.to_string()),
            BucketError::Missing => Self::Wrong("there is no such bucket".into()),
            BucketError::Forbidden(reason) => Self::Wrong(format!("the bucket may not be listed: {reason}")),
            BucketError::Other(reason) => Self::Wrong(reason),
        }
    }
}

/// Everything below a folder of a bucket, by the rules of folders.
pub fn bucket(root: &Path, line: &StageLine) -> Result<Found, RemoteError> {
    let (mut found, mut folders) = (Found::default(), BTreeSet::new());
    remote::list(root, &line.ui().stop(), |key, facts| -> Result<(), RemoteError> {
        if found.candidates.len().is_multiple_of(1000) {
            line.message(format!("{} files", found.candidates.len()));
            line.ui().check()?;
        }
        let above = key.match_indices('/').map(|(end, _)| &key[..end]);
        let rule = |folder: &str| folder_left_out(folder.rsplit('/').next().unwrap_or_default());
        if let Some((folder, (kind, text))) = above.filter_map(|folder| Some((folder, rule(folder)?))).next() {
            if folders.insert(folder.to_string()) {
                found.leave(format!("{folder}/"), kind, text);
            }
        } else if let Some((kind, text)) = left_out(key.rsplit('/').next().unwrap_or_default()) {
            found.leave(key.to_string(), kind, text);
        } else {
            found.candidates.push(candidate(key, facts));
        }
        Ok(())
    })?;
    found.candidates.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    // programs mark a folder by an object of its name without contents
    let is_folder = |pair: &[Candidate]| {
        pair[0].bytes == 0 && pair[1].path.strip_prefix(&pair[0].path).is_some_and(|rest| rest.starts_with('/'))
    };
    let mut marks: Vec<bool> = found.candidates.windows(2).map(is_folder).collect();
    marks.push(false);
    let mut marks = marks.into_iter();
    found.candidates.retain(|_| marks.next() != Some(true));
    Ok(found)
}

/// A picture elsewhere.
pub fn candidate(path: &str, Facts { bytes, modified, stamp }: Facts) -> Candidate {
    let (raw, member, inside, label, split): (Option<PathBuf>, _, _, _, _) = Default::default();
    Candidate { path: path.to_string(), raw, member, inside, bytes, modified, stamp, label, split }
}

/// Asks the servers of all URLs for the facts of their pictures, so many at a time.
pub fn look(found: &mut Found, requests: usize, line: &StageLine) -> Result<(), RemoteError> {
    let urls = found.candidates.iter().enumerate().filter(|(_, candidate)| is_url(&candidate.path));
    let mut wanted: Vec<usize> = urls.map(|(i, _)| i).collect();
    // neighbours in the list have a host in common: asked in another order, those that are down are not met together
    wanted.sort_by_cached_key(|&i| first_eight(&blake3::hash(found.candidates[i].path.as_bytes())));
    let stop: Arc<_> = line.ui().stop();
    let paths: Vec<&str> = found.candidates.iter().map(|candidate| candidate.path.as_str()).collect();
    let stream = Stream { source: &Held(&[]), wanted: &wanted, threads: requests, order: Order::Any, ui: line.ui() };
    let mut facts = Vec::with_capacity(wanted.len());
    let ended = stream.each(
        |i| remote::look(paths[i], &stop),
        |i, answer| match answer {
            Ok(one) => {
                facts.push((i, one));
                line.inc(1);
                Ok(())
            }
            Err(Problem::Stopped) => Err(StreamError::Interrupted(Interrupted)),
            Err(problem) => Err(StreamError::Down(problem.to_string())),
        },
    );
    match ended {
        Err(StreamError::Down(reason)) => return Err(RemoteError::Down(reason)),
        Err(StreamError::Interrupted(interrupted)) => return Err(interrupted.into()),
        Err(error) => return Err(RemoteError::Wrong(error.to_string())),
        Ok(()) => {}
    }
    for (i, Facts { bytes, modified, stamp }) in facts {
        let candidate = &mut found.candidates[i];
        (candidate.bytes, candidate.modified, candidate.stamp) = (bytes, modified, stamp);
    }
    Ok(())
}
