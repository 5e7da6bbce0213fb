// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// What dpkg has installed, from its database (dpkg-query(1), /var/lib/dpkg).
struct DebianPackages {
    /// Where the database lies.
    static let directory = "/var/lib/dpkg"
    /// The most bytes of the database.
    private static let sizeLimit = 256 << 20

    /// The installed packages, by name; nil where there is no database, as on a host of another distribution.
    let installed: Set<String>?
    /// Why the database could not be read; nil where it could, or there is none.
    let problem: String?

    private let host: LocalHost

    init(_ host: LocalHost) {
        self.host = host
        switch host.read(Self.directory + "/status", limit: Self.sizeLimit) {
        case .absent:
            installed = nil
            problem = nil
        case .unreadable(let text):
            installed = nil
            problem = text
        case .bytes(let bytes):
            installed = Self.installed(in: bytes)
            problem = nil
        }
    }

    /// Whether a package is installed, or half installed; nil where nothing can be said.
    func has(_ name: String) -> Bool? {
        installed?.contains(name)
    }

    /// The packages whose files are, or were, on the disk: all states but two (dpkg(1), Package states).
    static func installed(in status: [UInt8]) -> Set<String> {
        var found: Set<String> = []
        var name = ""
        for line in status.split(separator: UInt8(ascii: "\n")) {
            if line.starts(with: "Package: ".utf8) {
                name = String(decoding: line.dropFirst(9), as: UTF8.self)
            } else if line.starts(with: "Status: ".utf8) {
                let state = line.split(separator: UInt8(ascii: " ")).last ?? []
                if !state.elementsEqual("not-installed".utf8), !state.elementsEqual("config-files".utf8) {
                    found.insert(name)
                }
            }
        }
        return found
    }

    /// Which of some packages a file belongs to; nil where none says so.
    func owner(of path: String, among names: [String]) -> String? {
        let wanted = Self.merged(path)
        let lists = host.names(Self.directory + "/info")
        for name in names where installed?.contains(name) == true {
            // Of a package that several architectures can have: NAME:ARCHITECTURE.list
            for list in lists where list == "\(name).list" || list.hasPrefix("\(name):") && list.hasSuffix(".list") {
                guard let bytes = host.read("\(Self.directory)/info/\(list)").bytes else { continue }
                let paths = bytes.split(separator: UInt8(ascii: "\n")).lazy.map { String(decoding: $0, as: UTF8.self) }
                if paths.contains(where: { Self.merged($0) == wanted }) { return name }
            }
        }
        return nil
    }

    /// A path as it is where /bin and /sbin are links into /usr; packages write either.
    private static func merged(_ path: String) -> String {
        path.hasPrefix("/bin/") || path.hasPrefix("/sbin/") ? "/usr" + path : path
    }
}
