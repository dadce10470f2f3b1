//! The components of a path, from `/` on, with those of the targets of symbolic links.

use std::{
    ffi::OsString,
    fs, io,
    path::{self, Path, PathBuf},
};

use crate::{
    error::TrustError,
    facts::{Facts, Kind},
};

/// Maximum number of symbolic links in a path, as in path_resolution(7).
const MAX_LINKS: u32 = 40;

/// The position of a component in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    /// A directory or a link on the way.
    Inner,
    /// The object that the path leads to.
    Last,
}

/// One component of a path.
#[derive(Debug)]
pub(crate) struct Component {
    /// The path of the component, without links in its directories.
    pub(crate) path: PathBuf,
    pub(crate) facts: Facts,
    /// The number of directories above the component.
    pub(crate) depth: usize,
    pub(crate) position: Position,
}

/// The walk along a path.
#[derive(Debug)]
pub(crate) struct Walk {
    path: PathBuf,
    /// The directory that the walk has reached; it holds no links. `None` before `/`.
    reached: Option<PathBuf>,
    /// The devices of `reached` and of the directories above it.
    devices: Vec<u64>,
    /// The components that follow, the next one last.
    pending: Vec<OsString>,
    links: u32,
}

impl Walk {
    /// Returns the walk along a path, relative to the working directory.
    pub(crate) fn new(path: &Path) -> Result<Self, TrustError> {
        let here = Path::new(".");
        let is_empty = path.as_os_str().is_empty();
        let path = path::absolute(if is_empty { here } else { path })?;
        let mut walk = Self {
            path: path.clone(),
            reached: None,
            devices: Vec::new(),
            pending: Vec::new(),
            links: 0,
        };
        walk.push(&path);
        Ok(walk)
    }

    /// Returns the absolute path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the next component; `None` after the last one.
    pub(crate) fn next(&mut self) -> Result<Option<Component>, TrustError> {
        let Some(reached) = self.reached.clone() else {
            return self.component(PathBuf::from("/")).map(Some);
        };
        while let Some(name) = self.pending.pop() {
            if name == ".." {
                self.leave();
                continue;
            }
            let reached = self.reached.as_ref().unwrap_or(&reached);
            return self.component(reached.join(name)).map(Some);
        }
        Ok(None)
    }

    /// Examines a component, and enters a directory or follows a link.
    fn component(&mut self, path: PathBuf) -> Result<Component, TrustError> {
        let parent_device = self.devices.last().copied();
        let depth = self.devices.len();
        let (facts, device) = Facts::of(&path, parent_device)?;
        match facts.kind {
            Kind::Link => self.follow(&path)?,
            Kind::Directory => {
                self.devices.push(device);
                self.reached = Some(path.clone());
            }
            Kind::File | Kind::NullDevice if !self.pending.is_empty() => {
                return Err(io::Error::from(io::ErrorKind::NotADirectory).into());
            }
            Kind::File | Kind::NullDevice => {}
        }
        let is_last = facts.kind != Kind::Link && self.pending.is_empty();
        let position = if is_last {
            Position::Last
        } else {
            Position::Inner
        };
        Ok(Component {
            path,
            facts,
            depth,
            position,
        })
    }

    fn follow(&mut self, link: &Path) -> Result<(), TrustError> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(io::Error::other("too many levels of symbolic links").into());
        }
        let target = fs::read_link(link)?;
        if target.is_absolute() {
            self.reached = Some(PathBuf::from("/"));
            self.devices.truncate(1);
        }
        self.push(&target);
        Ok(())
    }

    /// Adds the components of a path before the pending ones.
    fn push(&mut self, path: &Path) {
        let names = path.components().rev().filter_map(|it| match it {
            path::Component::Normal(name) => Some(name.to_owned()),
            path::Component::ParentDir => Some("..".into()),
            _ => None,
        });
        self.pending.extend(names);
    }

    /// Goes to the directory above, which the walk has examined before.
    fn leave(&mut self) {
        if let Some(reached) = &mut self.reached
            && reached.pop()
        {
            self.devices.pop();
        }
    }
}
