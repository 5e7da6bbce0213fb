// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import Core

/// The services that nsswitch.conf(5) has for hosts, in their order.
struct HostServices {
    /// What glibc asks where nsswitch.conf has no such line (nss/nss_database.c).
    private static let standard = "dns [!UNAVAIL=return] files"
    /// The most bytes of nsswitch.conf that are looked at; the file is root's own.
    private static let sizeLimit = 1 << 20

    private struct Service {
        var name: [UInt8]
        /// `[NOTFOUND=return]` and the like; empty for none.
        var actions: [UInt8] = []
    }

    private var services: [Service] = []

    /// This host's; nil where nsswitch.conf cannot be read.
    static func ofThisHost() -> HostServices? {
        do throws(SystemError) {
            let file = try File.open("/etc/nsswitch.conf", [.reading])
            return try file.readAll(limit: sizeLimit).map { HostServices($0) }
        } catch {
            return error.isNotFound ? HostServices([]) : nil
        }
    }

    /// Those of nsswitch.conf's bytes. The last line for hosts counts, as it does for glibc.
    init(_ file: [UInt8]) {
        let isBlank = { (byte: UInt8) in byte == 0x20 || (0x09...0x0D).contains(byte) }
        var words = Array(Self.standard.utf8)[...]
        for line in file.split(separator: UInt8(ascii: "\n")) {
            let text = line.prefix { $0 != UInt8(ascii: "#") }.drop(while: isBlank)
            let database = text.prefix { !isBlank($0) && $0 != UInt8(ascii: ":") }
            if database.elementsEqual("hosts".utf8), database.count < text.count {
                words = text.dropFirst(database.count + 1)
            }
        }
        while let byte = words.first {
            if isBlank(byte) {
                words = words.dropFirst()
            } else if byte == UInt8(ascii: "[") {
                let actions = words.prefix { $0 != UInt8(ascii: "]") } + [UInt8(ascii: "]")]
                words = words.dropFirst(actions.count)
                // Actions before any service are what glibc refuses: they go to it as they are.
                if services.isEmpty { services.append(Service(name: [])) }
                services[services.count - 1].actions += actions
            } else {
                let name = words.prefix { !isBlank($0) && $0 != UInt8(ascii: "[") }
                words = words.dropFirst(name.count)
                services.append(Service(name: Array(name)))
            }
        }
    }

    /// Whether /etc/hosts is asked first, and what it has is all that a name has.
    var startsWithFiles: Bool {
        guard let first = services.first else { return false }
        return first.name.elementsEqual("files".utf8) && first.actions.isEmpty
    }

    /// Leaves a service out.
    mutating func removeAll(_ name: String) {
        services.removeAll { $0.name.elementsEqual(name.utf8) }
    }

    /// In nsswitch.conf's words.
    var text: ByteText {
        let words = services.flatMap { $0.actions.isEmpty ? [$0.name] : [$0.name, $0.actions] }
        return ByteText(Array(words.joined(separator: [0x20])))
    }
}
