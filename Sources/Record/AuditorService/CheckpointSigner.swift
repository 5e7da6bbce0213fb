// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Crypto

/// A private key of Ed25519, which signs one checkpoint.
struct CheckpointSigner {
    /// The bytes that a private key is made of (RFC 8032).
    static let seedSize = 32

    /// Its public key.
    let key: CheckpointKey
    private let secret: Curve25519.Signing.PrivateKey

    /// The key of a seed; nil where it is none, or was erased. The caller wipes the seed.
    init?(seed: [UInt8], name: String, digest: Audit.Digest) {
        guard seed.count == Self.seedSize, seed.contains(where: { $0 != 0 }),
            let secret = try? Curve25519.Signing.PrivateKey(rawRepresentation: seed),
            let key = CheckpointKey(name: name, bytes: Array(secret.publicKey.rawRepresentation), digest: digest)
        else { return nil }
        self.secret = secret
        self.key = key
    }

    /// The signature of a text.
    func sign(_ text: [UInt8]) -> [UInt8]? {
        (try? secret.signature(for: text)).map { Array($0) }
    }
}
