//! Pictures on other machines: the objects of a bucket, and the URLs of a table.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use featurize_remote::Problem;
use featurize_remote::bucket::BucketError;
use thiserror::Error;

use super::list::{Candidate, Found, folder_left_out, left_out};
use super::{Kind, first_eight};
use crate::io::IoError;
use crate::pictures::source::Held;
use crate::pictures::source::remote::{self, Facts, is_url};
use crate::pictures::{Order, Stream, StreamError};
use crate::progress::{Interrupted, StageLine};

/// Remote pictures cannot be listed.
#[derive(Debug, Error)]
pub enum RemoteError {
    #[error("interrupted")]
    Interrupted(#[from] Interrupted),
    /// The service does not respond.
    #[error("{0}")]
    Down(String),
    /// The bucket cannot be listed with these settings.
    #[error("{0}")]
    Wrong(String),
    #[error(transparent)]
    Io(#[from] IoError),
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

/// Lists everything below a folder of a bucket, by the rules of folders. `tick` gets the files found so far after each
/// file, and may take them.
pub fn bucket(
    root: &Path,
    stop: &Arc<AtomicBool>,
    mut tick: impl FnMut(&mut Found) -> Result<(), RemoteError>,
) -> Result<Found, RemoteError> {
    let (mut found, mut folders) = (Found::default(), BTreeSet::new());
    // an empty object may stand for a folder, which is known once the next object is inside it
    let mut mark: Option<Candidate> = None;
    remote::list(root, stop, |key, facts| -> Result<(), RemoteError> {
        let above = key.match_indices('/').map(|(end, _)| &key[..end]);
        let rule = |folder: &str| folder_left_out(folder.rsplit('/').next().unwrap_or_default());
        if let Some((folder, (kind, text))) = above.filter_map(|folder| Some((folder, rule(folder)?))).next() {
            if folders.insert(folder.to_string()) {
                found.leave(format!("{folder}/"), kind, text);
            }
        } else if let Some((kind, text)) = left_out(key.rsplit('/').next().unwrap_or_default()) {
            found.leave(key.to_string(), kind, text);
        } else {
            let is_inside = |mark: &Candidate| key.strip_prefix(&mark.path).is_some_and(|rest| rest.starts_with('/'));
            found.candidates.extend(mark.take().filter(|mark| !is_inside(mark)));
            match facts.map(|facts| candidate(key, facts)) {
                Ok(one) if one.bytes > 0 => found.candidates.push(one),
                Ok(one) => mark = Some(one),
                Err(reason) => found.leave(key.to_string(), Kind::Unreadable, reason),
            }
        }
        tick(&mut found)
    })?;
    found.candidates.extend(mark);
    found.sort();
    Ok(found)
}

/// Makes a candidate of a remote picture.
pub fn candidate(path: &str, Facts { bytes, modified, stamp }: Facts) -> Candidate {
    let (raw, member, inside, label, split): (Option<PathBuf>, _, _, _, _) = Default::default();
    Candidate { path: path.to_string(), raw, member, inside, bytes, modified, stamp, label, split }
}

/// Requests size, time and version of the pictures at all URLs, at most `requests` at a time.
pub fn look(found: &mut Found, requests: usize, line: &StageLine) -> Result<(), RemoteError> {
    let urls = found.candidates.iter().enumerate().filter(|(_, candidate)| is_url(&candidate.path));
    let mut wanted: Vec<usize> = urls.map(|(i, _)| i).collect();
    // neighbours in the list are often of one host; a shuffled order spreads the requests to a host that is down
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
