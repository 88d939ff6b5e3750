// Which run of the machine this is: monotonic moments mean nothing in another one.

internal import Glibc

/// The running kernel.
public enum Boot {
  /// A name that the kernel draws anew at each start (random(4): boot_id); empty where /proc does not tell.
  public static let id: String = {
    let raw = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC)
    guard raw >= 0 else { return "" }
    let file = Descriptor(owning: raw)
    let bytes = [UInt8](unsafeUninitializedCapacity: 64) { buffer, filled in
      filled = max(0, Glibc.read(file.raw, buffer.baseAddress, buffer.count))
    }
    return String(decoding: bytes.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
  }()
}
