//! What the journal says of itself: its state, and why it refuses.

/// Why a group was not taken, or will never be on disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// [`JOURNAL_QUEUE_BYTES`](crate::limits::JOURNAL_QUEUE_BYTES) wait for the writer; soon there
    /// is room again.
    #[error("the journal's queue is full")]
    Busy,
    /// The group would not fit into one segment, or into the queue; smaller ones do.
    #[error("a group of {bytes} bytes is larger than the journal takes ({limit})")]
    TooLarge {
        /// What the group would take on disk.
        bytes: usize,
        /// The most that one group may take.
        limit: usize,
    },
    /// No room for the next segment. The journal goes on by itself once there is.
    #[error("the disk is full: {0}")]
    Full(String),
    /// A write or flush failed. What is on disk stays readable; only a restart makes it writable.
    #[error("the journal failed and takes nothing until a restart: {0}")]
    Failed(String),
    /// [`Journal::close`](super::Journal::close) was called.
    #[error("the journal is closed")]
    Closed,
}

/// Whether the journal takes groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It does.
    Writable,
    /// The disk is full, with the error; it tries again by itself.
    Full(String),
    /// A write or flush failed, with the error; it never writes again.
    Failed(String),
    /// It was closed.
    Closed,
}

impl State {
    /// The answer to one who would append; `None` while writable.
    pub(super) fn refusal(&self) -> Option<AppendError> {
        match self {
            State::Writable => None,
            State::Full(text) => Some(AppendError::Full(text.clone())),
            State::Failed(text) => Some(AppendError::Failed(text.clone())),
            State::Closed => Some(AppendError::Closed),
        }
    }
}

/// Why a journal does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be used; the text names it.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// What had been flushed is not whole; the text names segment, offset and remedy.
    #[error("{0}")]
    Damaged(String),
}

/// Why a frame cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read; the text names segment and offset.
    #[error("{0}")]
    Io(String),
    /// The bytes are not the frame that was written; the text names segment, offset and remedy.
    #[error("{0}")]
    Damaged(String),
    /// The segment was trimmed, or the position lies before the oldest one.
    #[error("the journal is trimmed beyond this position")]
    Trimmed,
}

/// One segment as [`Journal::segments`](super::Journal::segments) lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its number; neighbours differ by one.
    pub id: u32,
    /// Sequence of its first frame; `None` when it has none, or the frame is damaged.
    pub first_sequence: Option<super::Sequence>,
    /// Sequence of its last frame, or an upper bound below the next segment's first; `None` when
    /// it has no frame.
    pub last_sequence: Option<super::Sequence>,
    /// Bytes of frames in it; the file's size where the frames have not been read since the start.
    pub used_bytes: u64,
    /// Still written to.
    pub active: bool,
}
