//! A disk in memory that forgets what it may: power failures at any operation, writes torn at
//! sector boundaries and kept in any order, lost directory entries, full disk, failing writes and
//! syncs. Everything follows from a seed.
//!
//! The model is harsher than real file systems are: what was not synced is kept or lost sector by
//! sector; a name is kept or lost apart from its file; after a failed sync the octets concerned are
//! kept or lost at once, and no later sync brings them back, while reading still shows them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{DirLock, Disk, DiskFile, FreeSpace, Listed};
use crate::platform::Random;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// A simulated disk. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

/// What goes wrong besides the power, in parts per 65,536 of the operations concerned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Writes that fail after writing some of their octets.
    pub write: u32,
    /// Syncs of files that fail.
    pub sync: u32,
    /// Creating, renaming, removing and directory syncs that fail without effect.
    pub name: u32,
}

/// Ways in which a disk may lie, for showing that a test would notice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lies {
    /// Syncs of files say yes and do nothing.
    pub sync: bool,
    /// Syncs of directories say yes and do nothing.
    pub sync_dir: bool,
}

impl SimDisk {
    /// An empty disk without faults and with room for `capacity` octets.
    #[must_use]
    pub fn new(seed: u64, capacity: u64) -> Self {
        let state = State {
            inodes: HashMap::new(),
            names: BTreeMap::new(),
            safe_names: BTreeMap::new(),
            pending_names: Vec::new(),
            dirs: BTreeSet::new(),
            locked: HashSet::new(),
            next_inode: 1,
            capacity,
            random: SimRandom { state: seed },
            operations: 0,
            fails_at: None,
            is_down: false,
            faults: Faults::default(),
            lies: Lies::default(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Sets what goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state.lock().faults = faults;
    }

    /// Sets how the disk lies from now on.
    pub fn set_lies(&self, lies: Lies) {
        self.state.lock().lies = lies;
    }

    /// Sets how many octets there are.
    pub fn set_capacity(&self, capacity: u64) {
        self.state.lock().capacity = capacity;
    }

    /// Cuts the power in the `n`th operation that changes something, counted from now.
    pub fn fail_after(&self, n: u64) {
        let mut state = self.state.lock();
        state.fails_at = Some(state.operations + n);
    }

    /// Operations so far that changed something.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// Whether the power is off: every operation fails.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.state.lock().is_down
    }

    /// Cuts the power, if it is still on, and gives the disk as it is found afterwards. The old
    /// one stays off.
    #[must_use]
    pub fn restart(&self) -> Self {
        let mut state = self.state.lock();
        state.is_down = true;
        let mut random = SimRandom { state: state.random.next() };
        // Some failures lose everything unsynced, some nothing, most some of it.
        let keep = match random.below(4) {
            0 => 0,
            1 => 65_536,
            _ => random.below(65_537) as u32,
        };
        let names = state.names_after_failure(&mut random, keep);
        let mut inodes = HashMap::new();
        for number in names.values() {
            if let Some(inode) = state.inodes.get(number) {
                let octets = inode.after_failure(&mut random, keep);
                inodes.insert(*number, Inode { safe: octets.clone(), octets, pending: Vec::new() });
            }
        }
        let fresh = State {
            inodes,
            safe_names: names.clone(),
            names,
            pending_names: Vec::new(),
            dirs: state.dirs.clone(),
            locked: HashSet::new(),
            next_inode: state.next_inode,
            capacity: state.capacity,
            random,
            operations: 0,
            fails_at: None,
            is_down: false,
            faults: Faults::default(),
            lies: state.lies,
        };
        Self { state: Arc::new(Mutex::new(fresh)) }
    }

    /// Changes octets of a file behind everybody's back, as a bad sector does.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] for a file or octets that are not there.
    pub fn damage(&self, path: &Path, offset: u64, len: usize) -> io::Result<()> {
        let mut state = self.state.lock();
        let number = *state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        let inode = state.inodes.get_mut(&number).ok_or(io::ErrorKind::NotFound)?;
        let from = usize::try_from(offset).map_err(|_| io::ErrorKind::NotFound)?;
        let range = from..from.saturating_add(len);
        for octets in [&mut inode.octets, &mut inode.safe] {
            let octets = octets.get_mut(range.clone()).ok_or(io::ErrorKind::NotFound)?;
            octets.iter_mut().for_each(|octet| *octet ^= 0x5A);
        }
        Ok(())
    }

    /// Paths and lengths of all files.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let state = self.state.lock();
        state
            .names
            .iter()
            .filter_map(|(path, number)| {
                Some((path.clone(), state.inodes.get(number)?.octets.len() as u64))
            })
            .collect()
    }
}

#[derive(Debug)]
struct State {
    inodes: HashMap<u64, Inode>,
    /// Names as running programs see them.
    names: BTreeMap<PathBuf, u64>,
    /// Names as a power failure leaves them at least.
    safe_names: BTreeMap<PathBuf, u64>,
    /// What happened to names since, in order.
    pending_names: Vec<NameChange>,
    dirs: BTreeSet<PathBuf>,
    locked: HashSet<PathBuf>,
    next_inode: u64,
    capacity: u64,
    random: SimRandom,
    operations: u64,
    fails_at: Option<u64>,
    is_down: bool,
    faults: Faults,
    lies: Lies,
}

#[derive(Clone, Debug)]
enum NameChange {
    Create(PathBuf, u64),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

impl NameChange {
    fn paths(&self) -> [Option<&Path>; 2] {
        match self {
            Self::Create(path, _) | Self::Remove(path) => [Some(path), None],
            Self::Rename(from, to) => [Some(from), Some(to)],
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Create(path, number) => {
                names.insert(path.clone(), *number);
            }
            Self::Remove(path) => {
                names.remove(path);
            }
            Self::Rename(from, to) => {
                if let Some(number) = names.remove(from) {
                    names.insert(to.clone(), number);
                }
            }
        }
    }
}

#[derive(Debug, Default)]
struct Inode {
    /// As reading shows it.
    octets: Vec<u8>,
    /// As it is on the medium.
    safe: Vec<u8>,
    pending: Vec<Pending>,
}

#[derive(Debug)]
enum Pending {
    Write(usize, usize, Vec<u8>),
    Len(usize),
}

impl Inode {
    fn sync(&mut self) {
        for pending in std::mem::take(&mut self.pending) {
            pending.apply(&mut self.safe, &mut |_| true);
        }
    }

    /// What a failed sync leaves: something, and nobody will try again.
    fn fail_sync(&mut self, random: &mut SimRandom) {
        for pending in std::mem::take(&mut self.pending) {
            pending.apply(&mut self.safe, &mut |_| random.below(2) == 0);
        }
    }

    fn after_failure(&self, random: &mut SimRandom, keep: u32) -> Vec<u8> {
        let mut octets = self.safe.clone();
        for pending in &self.pending {
            pending.apply(&mut octets, &mut |_| random.below(65_536) < u64::from(keep));
        }
        octets
    }
}

impl Pending {
    fn apply(&self, octets: &mut Vec<u8>, is_kept: &mut dyn FnMut(usize) -> bool) {
        match self {
            Self::Len(len) => {
                if is_kept(0) {
                    set_len(octets, *len);
                }
            }
            Self::Write(offset, len, data) => {
                let mut at = *offset;
                while at < offset + len {
                    let end = ((at / SECTOR + 1) * SECTOR).min(offset + len);
                    if is_kept(at / SECTOR) {
                        if octets.len() < end {
                            set_len(octets, end);
                        }
                        octets[at..end].copy_from_slice(&data[at - offset..end - offset]);
                    }
                    at = end;
                }
            }
        }
    }
}

/// Cuts or extends with zeros; a block at a time, since tests run unoptimised.
fn set_len(octets: &mut Vec<u8>, len: usize) {
    octets.truncate(len);
    while octets.len() < len {
        let n = (len - octets.len()).min(ZEROS.len());
        octets.extend_from_slice(&ZEROS[..n]);
    }
}

const ZEROS: [u8; 4096] = [0; 4096];

impl State {
    /// Counts an operation; `Err` once the power is off. The operation in which it fails still has
    /// its effect in memory, of which the failure keeps what it likes.
    fn step(&mut self) -> Result<Step, io::Error> {
        if self.is_down {
            return Err(power_off());
        }
        self.operations += 1;
        if self.fails_at.is_some_and(|at| self.operations >= at) {
            self.is_down = true;
            return Ok(Step::Last);
        }
        Ok(Step::Normal)
    }

    fn has_fault(&mut self, which: impl Fn(&Faults) -> u32) -> bool {
        let parts = which(&self.faults);
        parts > 0 && self.random.below(65_536) < u64::from(parts)
    }

    fn change_name(&mut self, change: NameChange) -> io::Result<()> {
        if self.has_fault(|faults| faults.name) {
            return Err(io::Error::other("simulated failure"));
        }
        let step = self.step()?;
        change.apply(&mut self.names);
        self.pending_names.push(change);
        step.finish()
    }

    fn used(&self) -> u64 {
        self.names
            .values()
            .filter_map(|number| self.inodes.get(number))
            .map(|inode| inode.octets.len() as u64)
            .sum()
    }

    fn names_after_failure(&self, random: &mut SimRandom, keep: u32) -> BTreeMap<PathBuf, u64> {
        let mut names = self.safe_names.clone();
        // Journals keep a beginning; other file systems keep what they like, name by name.
        let is_journal = random.below(2) == 0;
        let mut lost: HashSet<&Path> = HashSet::new();
        for change in &self.pending_names {
            let follows_lost = change.paths().iter().flatten().any(|path| lost.contains(path));
            if follows_lost || random.below(65_536) >= u64::from(keep) {
                if is_journal {
                    break;
                }
                lost.extend(change.paths().into_iter().flatten());
            } else {
                change.apply(&mut names);
            }
        }
        names
    }

    fn exists_dir(&self, path: &Path) -> io::Result<()> {
        match path.parent() {
            Some(parent) if !self.dirs.contains(parent) => Err(io::ErrorKind::NotFound.into()),
            _ => Ok(()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Normal,
    /// The power fails in this one.
    Last,
}

impl Step {
    fn finish(self) -> io::Result<()> {
        match self {
            Self::Normal => Ok(()),
            Self::Last => Err(power_off()),
        }
    }
}

fn power_off() -> io::Error {
    io::Error::other("simulated power failure")
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        state.exists_dir(path)?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let number = state.next_inode;
        state.next_inode += 1;
        state.inodes.insert(number, Inode::default());
        state.change_name(NameChange::Create(path.to_owned(), number))?;
        Ok(Arc::new(SimFile { state: Arc::clone(&self.state), number }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.state.lock();
        if state.is_down {
            return Err(power_off());
        }
        let number = *state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimFile { state: Arc::clone(&self.state), number }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change_name(NameChange::Remove(path.to_owned()))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.exists_dir(to)?;
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change_name(NameChange::Rename(from.to_owned(), to.to_owned()))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Listed>> {
        let state = self.state.lock();
        if state.is_down {
            return Err(power_off());
        }
        if !state.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut out = Vec::new();
        for (path, number) in &state.names {
            if path.parent() == Some(dir)
                && let Some(name) = path.file_name().and_then(|name| name.to_str())
                && let Some(inode) = state.inodes.get(number)
            {
                out.push(Listed { name: name.to_owned(), len: inode.octets.len() as u64 });
            }
        }
        Ok(out)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.is_down {
            return Err(power_off());
        }
        // Directories are made once, at the first start: losing one is losing nothing.
        for ancestor in dir.ancestors() {
            state.dirs.insert(ancestor.to_owned());
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.has_fault(|faults| faults.name) {
            return Err(io::Error::other("simulated failure"));
        }
        let step = state.step()?;
        if step == Step::Normal && !state.lies.sync_dir {
            let State { pending_names, safe_names, .. } = &mut *state;
            pending_names.retain(|change| {
                let is_here =
                    change.paths().iter().flatten().any(|path| path.parent() == Some(dir));
                if is_here {
                    change.apply(safe_names);
                }
                !is_here
            });
        }
        step.finish()
    }

    fn free_space(&self, _dir: &Path) -> io::Result<FreeSpace> {
        let state = self.state.lock();
        if state.is_down {
            return Err(power_off());
        }
        Ok(FreeSpace { bytes: state.capacity.saturating_sub(state.used()), inodes: u64::MAX })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        let mut state = self.state.lock();
        if state.is_down {
            return Err(power_off());
        }
        if !state.locked.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimLock { state: Arc::clone(&self.state), path: path.to_owned() }))
    }
}

#[derive(Debug)]
struct SimFile {
    state: Arc<Mutex<State>>,
    number: u64,
}

impl SimFile {
    fn set(&self, len: u64, may_cut: bool) -> io::Result<()> {
        let mut state = self.state.lock();
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::StorageFull)?;
        let now = state.inodes.get(&self.number).map_or(0, |inode| inode.octets.len());
        if len > now && state.used() + (len - now) as u64 > state.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let step = state.step()?;
        if let Some(inode) = state.inodes.get_mut(&self.number)
            && (may_cut || len > now)
        {
            set_len(&mut inode.octets, len);
            inode.pending.push(Pending::Len(len));
        }
        step.finish()
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.state.lock();
        if state.is_down {
            return Err(power_off());
        }
        let inode = state.inodes.get(&self.number).ok_or(io::ErrorKind::NotFound)?;
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = inode.octets.get(from..).unwrap_or_default();
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut state = self.state.lock();
        let mut data = Vec::with_capacity(bufs.iter().map(|buf| buf.len()).sum());
        for buf in bufs {
            data.extend_from_slice(buf);
        }
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::StorageFull)?;
        let is_faulty = state.has_fault(|faults| faults.write);
        let now = state.inodes.get(&self.number).map_or(0, |inode| inode.octets.len());
        let grows = (offset + data.len()).saturating_sub(now) as u64;
        if grows > 0 && state.used() + grows > state.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if is_faulty {
            let kept = state.random.below(data.len() as u64 + 1) as usize;
            data.truncate(kept);
        }
        let step = state.step()?;
        let written = data.len();
        if let Some(inode) = state.inodes.get_mut(&self.number) {
            if inode.octets.len() < offset + written {
                set_len(&mut inode.octets, offset + written);
            }
            inode.octets[offset..offset + written].copy_from_slice(&data);
            inode.pending.push(Pending::Write(offset, written, data));
        }
        step.finish()?;
        if is_faulty {
            return Err(io::Error::other("simulated failure"));
        }
        Ok(written)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        let is_faulty = state.has_fault(|faults| faults.sync);
        let step = state.step()?;
        let State { inodes, random, lies, .. } = &mut *state;
        let inode = inodes.get_mut(&self.number).ok_or(io::ErrorKind::NotFound)?;
        if is_faulty {
            inode.fail_sync(random);
            return Err(io::Error::other("simulated failure"));
        }
        if step == Step::Normal && !lies.sync {
            inode.sync();
        }
        step.finish()
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.set(len, false)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.set(len, true)
    }

    fn len(&self) -> io::Result<u64> {
        let state = self.state.lock();
        if state.is_down {
            return Err(power_off());
        }
        let inode = state.inodes.get(&self.number).ok_or(io::ErrorKind::NotFound)?;
        Ok(inode.octets.len() as u64)
    }
}

struct SimLock {
    state: Arc<Mutex<State>>,
    path: PathBuf,
}

impl DirLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.state.lock().locked.remove(&self.path);
    }
}

/// Random numbers that follow from a seed (SplitMix64).
#[derive(Clone, Debug)]
pub struct SimRandom {
    state: u64,
}

impl SimRandom {
    /// Starts from a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `limit`, 0 when `limit` is 0.
    pub const fn below(&mut self, limit: u64) -> u64 {
        let number = self.next();
        if limit == 0 { 0 } else { number % limit }
    }
}

impl Random for Mutex<SimRandom> {
    fn next_u64(&self) -> u64 {
        self.lock().next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(file: &dyn DiskFile, octets: &[u8], offset: u64) -> io::Result<usize> {
        file.write_at(&[IoSlice::new(octets)], offset)
    }

    #[test]
    fn synced_octets_with_a_synced_name_survive_every_failure() {
        for seed in 0..200 {
            let disk = SimDisk::new(seed, 1 << 20);
            disk.create_dir(Path::new("/d")).unwrap();
            let file = disk.create(Path::new("/d/a")).unwrap();
            write(&*file, &[1; 3000], 0).unwrap();
            file.sync().unwrap();
            disk.sync_dir(Path::new("/d")).unwrap();
            write(&*file, &[2; 3000], 1000).unwrap();
            let disk = disk.restart();
            let file = disk.open(Path::new("/d/a")).unwrap();
            let mut octets = [0; 1000];
            assert_eq!(file.read_at(&mut octets, 0).unwrap(), 1000);
            assert_eq!(octets, [1; 1000]);
        }
    }

    #[test]
    fn what_is_not_synced_is_sometimes_lost_kept_and_torn() {
        let (mut lost, mut kept, mut torn, mut unnamed) = (0, 0, 0, 0);
        for seed in 0..400 {
            let disk = SimDisk::new(seed, 1 << 20);
            disk.create_dir(Path::new("/d")).unwrap();
            let file = disk.create(Path::new("/d/a")).unwrap();
            write(&*file, &[1; 4096], 0).unwrap();
            let disk = disk.restart();
            let Ok(file) = disk.open(Path::new("/d/a")) else {
                unnamed += 1;
                continue;
            };
            let mut octets = [0; 4096];
            let n = file.read_at(&mut octets, 0).unwrap();
            match octets[..n].iter().filter(|octet| **octet == 1).count() {
                0 => lost += 1,
                4096 => kept += 1,
                _ => torn += 1,
            }
        }
        assert!(lost > 0 && kept > 0 && torn > 0 && unnamed > 0, "{lost} {kept} {torn} {unnamed}");
    }
}
