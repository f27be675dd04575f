//! The entry points of an MPI library and what goes through them: handles of either kind, error
//! codes as errors, and the fields of a status. No state and no decision; each call is made by who
//! owns what the pointers point to.

use super::super::abi::{Abi, Fixed, HandleKind, SUCCESS};
use super::super::library::{Library, LoadError};
use super::super::transport::TransportError;
use std::ffi::{c_char, c_int, c_void};

/// What a communicator, a datatype, a request or an error handler is in C.
pub(super) trait Handle: Copy + PartialEq {
    /// Which kind this is.
    const KIND: HandleKind;

    /// The handle that is this number.
    fn of_value(value: u32) -> Self;

    /// The handle that is this address; `None` if handles are no addresses.
    fn of_address(address: *mut c_void) -> Option<Self>;

    /// A handle that is there from the start.
    fn fixed(fixed: Fixed, library: &Library) -> Result<Self, LoadError> {
        match fixed {
            Fixed::Value(value) => Ok(Self::of_value(value)),
            Fixed::Symbol(name) => {
                let missing = || LoadError::Missing { library: library.name().to_owned(), name };
                Self::of_address(library.address(name)?).ok_or_else(missing)
            }
        }
    }
}

impl Handle for *mut c_void {
    const KIND: HandleKind = HandleKind::Pointer;

    fn of_value(value: u32) -> Self {
        std::ptr::without_provenance_mut(value as usize)
    }

    fn of_address(address: *mut c_void) -> Option<Self> {
        Some(address)
    }
}

impl Handle for c_int {
    const KIND: HandleKind = HandleKind::Int;

    fn of_value(value: u32) -> Self {
        value.cast_signed()
    }

    fn of_address(_: *mut c_void) -> Option<Self> {
        None
    }
}

/// A table of entry points, each with its name and its parameters in the C header; all of them
/// return an error code.
macro_rules! calls {
    ($($field:ident = $name:literal ($($parameter:ty),*);)*) => {
        /// The entry points. `H` is what handles are.
        #[derive(Clone)]
        pub(super) struct Calls<H> {
            $(pub(super) $field: unsafe extern "C" fn($($parameter),*) -> c_int,)*
        }

        impl<H: Handle> Calls<H> {
            /// Finds all of them.
            ///
            /// # Errors
            /// If the library lacks one.
            pub(super) fn find(library: &Library) -> Result<Calls<H>, LoadError> {
                debug_assert_eq!(library.abi().handles, H::KIND);
                Ok(Calls {
                    // SAFETY: these are the signatures of the MPI standard, `H` is what the
                    // library's interface has for a handle, and `void *` is what it has for a
                    // status.
                    $($field: unsafe { library.function($name)? },)*
                })
            }
        }
    };
}

calls! {
    init_thread = "MPI_Init_thread" (*mut c_int, *mut *mut *mut c_char, c_int, *mut c_int);
    finalize = "MPI_Finalize" ();
    comm_rank = "MPI_Comm_rank" (H, *mut c_int);
    comm_size = "MPI_Comm_size" (H, *mut c_int);
    comm_dup = "MPI_Comm_dup" (H, *mut H);
    comm_set_errhandler = "MPI_Comm_set_errhandler" (H, H);
    comm_get_attr = "MPI_Comm_get_attr" (H, c_int, *mut c_void, *mut c_int);
    isend = "MPI_Isend" (*const c_void, c_int, H, c_int, c_int, H, *mut H);
    irecv = "MPI_Irecv" (*mut c_void, c_int, H, c_int, c_int, H, *mut H);
    testsome = "MPI_Testsome" (c_int, *mut H, *mut c_int, *mut c_int, *mut c_void);
    cancel = "MPI_Cancel" (*mut H);
    test_cancelled = "MPI_Test_cancelled" (*const c_void, *mut c_int);
    get_count = "MPI_Get_count" (*const c_void, H, *mut c_int);
    request_free = "MPI_Request_free" (*mut H);
    error_class = "MPI_Error_class" (c_int, *mut c_int);
    error_string = "MPI_Error_string" (c_int, *mut c_char, *mut c_int);
}

impl<H: Handle> Calls<H> {
    /// An error code as an error with the library's text; MPI must have been started.
    pub(super) fn check(
        &self,
        abi: &Abi,
        call: &'static str,
        code: c_int,
    ) -> Result<(), TransportError> {
        if code == SUCCESS {
            return Ok(());
        }
        let mut text = vec![0_u8; abi.max_error_string];
        let mut len = 0;
        // SAFETY: the library writes at most as many bytes as its header says, and their number.
        let known = unsafe { (self.error_string)(code, text.as_mut_ptr().cast(), &raw mut len) };
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        // Some name the place in their sources on lines of their own.
        let text = String::from_utf8_lossy(text);
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let named = known == SUCCESS && !text.is_empty();
        let text = if named { text } else { "an error that the library cannot name".to_owned() };
        Err(TransportError { call, code, text })
    }

    /// The class of an error code: codes are the library's own, classes the interface's.
    pub(super) fn class(&self, code: c_int) -> c_int {
        let mut class = code;
        // SAFETY: the library writes one number.
        let known = unsafe { (self.error_class)(code, &raw mut class) };
        if known == SUCCESS { class } else { code }
    }
}

/// An array of statuses, reused from one poll to the next.
pub(super) struct Statuses {
    stride: usize,
    source: usize,
    error: usize,
    /// Words, so that the array begins where every interface's status may.
    words: Vec<u64>,
}

impl Statuses {
    /// An empty array for this interface.
    pub(super) fn new(abi: &Abi) -> Statuses {
        let Abi { status_stride, status_source, status_error, .. } = *abi;
        let (stride, source, error) = (status_stride, status_source, status_error);
        Statuses { stride, source, error, words: Vec::new() }
    }

    /// Makes room for this many.
    pub(super) fn grow(&mut self, count: usize) {
        let words = (count * self.stride).div_ceil(size_of::<u64>());
        if words > self.words.len() {
            self.words.resize(words, 0);
        }
    }

    /// Where the array begins, for the library to write.
    pub(super) fn first(&mut self) -> *mut c_void {
        self.words.as_mut_ptr().cast()
    }

    /// Where this status begins; `None` if there is no room for it.
    pub(super) fn at(&self, index: usize) -> Option<*const c_void> {
        let end = (index + 1) * self.stride;
        let bytes = self.words.len() * size_of::<u64>();
        // SAFETY: the status ends within the array.
        (end <= bytes)
            .then(|| unsafe { self.words.as_ptr().cast::<u8>().add(index * self.stride).cast() })
    }

    /// `MPI_SOURCE` of this status.
    pub(super) fn source(&self, index: usize) -> c_int {
        self.field(index, self.source)
    }

    /// `MPI_ERROR` of this status; it counts only where a call reported that it was set.
    pub(super) fn error(&self, index: usize) -> c_int {
        self.field(index, self.error)
    }

    fn field(&self, index: usize, offset: usize) -> c_int {
        let Some(status) = self.at(index) else { return -1 };
        // SAFETY: the field lies within the status, which lies within the array, whose bytes are
        // all initialised; both strides and offsets are multiples of a C int.
        unsafe { status.byte_add(offset).cast::<c_int>().read() }
    }
}
