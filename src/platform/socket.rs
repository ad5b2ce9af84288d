//! What a TCP socket can be asked beyond what tokio asks.

use std::io;

use tokio::net::TcpStream;

/// Whether a call failed because the process, or the system, has no descriptor left.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// Has the system tell of bytes that have come once there are so many, or their sender is gone; with 1, as it does
/// without. Bytes that were there before the mark was lowered may go untold: they have to be [received](receive).
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
pub(crate) fn set_low_water(socket: &TcpStream, bytes: u16) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    let bytes = libc::c_int::from(bytes);
    let length = size_of_val(&bytes) as libc::socklen_t;
    let (level, option) = (libc::SOL_SOCKET, libc::SO_RCVLOWAT);
    // SAFETY: the descriptor is open for as long as `socket` is borrowed. The option takes an int, which is read from
    // `bytes` before the call returns.
    let failed =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const bytes).cast(), length) };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Where there is no such mark, or none that is known to work.
#[cfg(not(target_os = "linux"))]
pub(crate) fn set_low_water(_: &TcpStream, _: u16) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Takes bytes that have come, whether or not tokio has been told of them. [`io::ErrorKind::WouldBlock`]: there are none.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
pub(crate) fn receive(socket: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    use std::os::fd::AsRawFd;

    let (to, most, flags) = (buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT);
    // SAFETY: the descriptor is open for as long as `socket` is borrowed. At most as many bytes as `buffer` has are written
    // to it, before the call returns.
    let received = unsafe { libc::recv(socket.as_raw_fd(), to, most, flags) };
    usize::try_from(received).map_err(|_| io::Error::last_os_error())
}

/// The same for as much as tokio has been told of, which is all that there is where no mark is set.
#[cfg(not(target_os = "linux"))]
pub(crate) fn receive(socket: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    socket.try_read(buffer)
}
