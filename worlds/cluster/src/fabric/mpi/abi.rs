//! What differs between the binary interfaces of MPI libraries, as one table of plain values: how
//! handles look, where the fields of a status stand, and the numbers behind the names. It loads and
//! calls nothing, and it holds no name of which every library means the same.
//!
//! There are three. Open MPI (4 and 5, and what is made of it) has pointers to objects that the
//! library exports. MPICH has integers, and all of its kin (Intel, Cray, MVAPICH) agreed to keep
//! them. The MPI standard has an interface of its own since MPI 5.0 (chapter 20, and appendix A for
//! the numbers): pointers whose values are small constants. A test compares the table with the
//! libraries' own headers.

/// Which of the three interfaces a library has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    /// Open MPI 4 and 5.
    OpenMpi,
    /// MPICH and its kin.
    Mpich,
    /// The interface of the MPI standard, by whomever.
    Standard,
}

/// What a handle is in a C signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandleKind {
    /// A pointer.
    Pointer,
    /// A C `int`.
    Int,
}

/// A handle that is there from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fixed {
    /// The address of what the library exports under this name.
    Symbol(&'static str),
    /// This number.
    Value(u32),
}

/// One binary interface. Offsets and sizes are in bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Abi {
    /// Which one it is.
    pub(crate) family: Family,
    /// What handles are.
    pub(crate) handles: HandleKind,
    /// `MPI_COMM_WORLD`.
    pub(crate) comm_world: Fixed,
    /// `MPI_COMM_SELF`: errors that belong to no communicator are raised here since MPI 4.0.
    pub(crate) comm_self: Fixed,
    /// `MPI_COMM_NULL`.
    pub(crate) comm_null: Fixed,
    /// `MPI_BYTE`.
    pub(crate) byte: Fixed,
    /// `MPI_REQUEST_NULL`.
    pub(crate) request_null: Fixed,
    /// `MPI_ERRORS_RETURN`.
    pub(crate) errors_return: Fixed,
    /// From one `MPI_Request` of an array to the next.
    pub(crate) request_stride: usize,
    /// From one `MPI_Status` of an array to the next.
    pub(crate) status_stride: usize,
    /// Where `MPI_SOURCE` stands in a status.
    pub(crate) status_source: usize,
    /// Where `MPI_ERROR` stands in a status.
    pub(crate) status_error: usize,
    /// `MPI_ANY_SOURCE`.
    pub(crate) any_source: i32,
    /// `MPI_UNDEFINED`.
    pub(crate) undefined: i32,
    /// `MPI_THREAD_FUNNELED`.
    pub(crate) thread_funneled: i32,
    /// `MPI_TAG_UB`, the key of an attribute.
    pub(crate) tag_ub: i32,
    /// `MPI_ERR_COUNT`, an error class.
    pub(crate) err_count: i32,
    /// `MPI_ERR_TAG`, an error class.
    pub(crate) err_tag: i32,
    /// `MPI_ERR_RANK`, an error class.
    pub(crate) err_rank: i32,
    /// `MPI_ERR_IN_STATUS`, an error class.
    pub(crate) err_in_status: i32,
    /// `MPI_ERR_OTHER`, an error class.
    pub(crate) err_other: i32,
    /// `MPI_MAX_ERROR_STRING`, with the closing zero.
    pub(crate) max_error_string: usize,
}

/// `MPI_SUCCESS`, which the standard itself fixes for every library.
pub(crate) const SUCCESS: i32 = 0;

/// The longest `MPI_MAX_LIBRARY_VERSION_STRING` of all: the version is asked for before anybody
/// knows which interface the library has.
pub(crate) const LONGEST_VERSION: usize = 8192;

impl Family {
    /// As people call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Family::OpenMpi => "Open MPI",
            Family::Mpich => "MPICH",
            Family::Standard => "the MPI standard",
        }
    }

    /// Its interface.
    pub(crate) fn abi(self) -> &'static Abi {
        match self {
            Family::OpenMpi => &OPEN_MPI,
            Family::Mpich => &MPICH,
            Family::Standard => &STANDARD,
        }
    }
}

static OPEN_MPI: Abi = Abi {
    family: Family::OpenMpi,
    handles: HandleKind::Pointer,
    comm_world: Fixed::Symbol("ompi_mpi_comm_world"),
    comm_self: Fixed::Symbol("ompi_mpi_comm_self"),
    comm_null: Fixed::Symbol("ompi_mpi_comm_null"),
    byte: Fixed::Symbol("ompi_mpi_byte"),
    request_null: Fixed::Symbol("ompi_request_null"),
    errors_return: Fixed::Symbol("ompi_mpi_errors_return"),
    request_stride: 8,
    status_stride: 24,
    status_source: 0,
    status_error: 8,
    any_source: -1,
    undefined: -32_766,
    thread_funneled: 1,
    tag_ub: 0,
    err_count: 2,
    err_tag: 4,
    err_rank: 6,
    err_in_status: 18,
    err_other: 16,
    max_error_string: 256,
};

static MPICH: Abi = Abi {
    family: Family::Mpich,
    handles: HandleKind::Int,
    comm_world: Fixed::Value(0x4400_0000),
    comm_self: Fixed::Value(0x4400_0001),
    comm_null: Fixed::Value(0x0400_0000),
    byte: Fixed::Value(0x4c00_010d),
    request_null: Fixed::Value(0x2c00_0000),
    errors_return: Fixed::Value(0x5400_0001),
    request_stride: 4,
    status_stride: 20,
    status_source: 8,
    status_error: 16,
    any_source: -2,
    undefined: -32_766,
    thread_funneled: 1,
    tag_ub: 0x6440_0001,
    err_count: 2,
    err_tag: 4,
    err_rank: 6,
    err_in_status: 17,
    err_other: 15,
    max_error_string: 512,
};

static STANDARD: Abi = Abi {
    family: Family::Standard,
    handles: HandleKind::Pointer,
    comm_world: Fixed::Value(0x101),
    comm_self: Fixed::Value(0x102),
    comm_null: Fixed::Value(0x100),
    byte: Fixed::Value(0x247),
    request_null: Fixed::Value(0x180),
    errors_return: Fixed::Value(0x143),
    request_stride: 8,
    status_stride: 32,
    status_source: 0,
    status_error: 8,
    any_source: -1,
    undefined: -32_766,
    thread_funneled: 1024,
    tag_ub: 501,
    err_count: 2,
    err_tag: 4,
    err_rank: 6,
    err_in_status: 19,
    err_other: 16,
    max_error_string: 512,
};

#[cfg(test)]
mod tests;
