// Package strongroom is the map of the house; it holds no code.
//
// Strongroom runs agreed code on data that nobody involved may see, and proves that it did.
// A room is an attested place where code meets data. An agreement says who takes part, which
// code may run, which data comes in, which results go out and which machines are good
// enough. Each party's broker releases its keys only to a room whose evidence shows exactly
// that agreement. Results leave sealed, with a proof.
//
// # From evidence to result
//
// Read the packages in this order; a package imports only from lines above its own
// (floors_test.go enforces it), and nothing down to policy touches a file, the network or
// the clock.
//
//	wire              canonical encodings and domain-separated hashes
//	verdict           one vocabulary of checks and refusals
//	cbor, cose        CBOR with one reading, and what is signed in it
//	scale             lengths and vectors in dstack's encoding
//	tcbinfo           what DICE devices state in their certificates
//	plainyaml         YAML with one reading, for what people write
//	verity            trees by which a kernel checks a disk, block by block
//	erofs             read-only file systems, the same bytes for the same tree
//	keys              typed keys, signed documents, HPKE
//	privacy           differential privacy: noise, and the books of what answers told
//	agreement         who, which code, which data, which results: signed and named by digest
//	agreement/draft   agreements as people write them
//	seal              sealed files (age) and their Merkle root
//	ledger            entries, checkpoints, proofs, receipts
//	predict           what a machine's evidence will carry, from the files it boots
//	corim             signed CoRIMs, those of their values that are measurements
//	lineage           which of two versions is newer: nothing goes back in time
//	endorse           what vendors sign: certificates, revocations, TCB levels, in bundles
//	dcap, sevsnp, arm Intel's quotes, AMD's reports and Arm's tokens, byte by byte
//	tpm2              TPMs' quotes, keys and boots, byte by byte
//	unwrap            evidence taken out of what tools wrap it in
//	reference         what good code measures, as its makers sign it
//	reference/draft   those values as people and tools write them
//	attest            evidence in, claims out; one platform a package below it
//	appraise          a finding judged by an appraisal policy: an attestation result
//	policy            claims and a request in, a grant or a refusal out, clause by clause
//	release           a grant becomes a file key sealed to the room
//	channel           the room's one byte stream
//	ear               attestation results as signed tokens
//	endorse/fetch     vendors' services, and a cache of what they say
//	device            what an agent asks its evidence device
//	ingress           how clients that judge a room first reach it, both ends
//	broker            a party's key service: decide, record, release; below it its way to other authorities (ACME)
//	verifier          the attestation service: challenges, policies, evidence in, tokens out
//	sandbox           what a program in a room may not do; below it the lists of system calls and the trees of cells
//	workload/sql      queries in a room: protocol; below it rows of inputs, the guard and the DuckDB engine
//	workload/container an existing image in a room; below it its ways out, keys and volumes, and how images are made
//	machine           the first process of a room's virtual machine; below it the TPM's commands
//	room              the agent: what happens inside
//	proof             what anyone can check afterwards
//	watch             a fleet of rooms attested again and again
//	image             the files that a room boots from
//	host/qemu         virtual machines for rooms: command lines, processes, software TPMs
//	host/ready        what a machine lacks to host them
//	host/volume       file systems that a host keeps for rooms
//	host              what starts a room, trusted with nothing
//	relying           a client's judgement of rooms, by the agreement that it pins
//	image/cloud       images as clouds take them, and how to launch them there
//	store             state and logs on disk
//	source            rows of databases and objects of S3-compatible storage, as they are sealed
//	client, server    HTTP, both ends
//	demo              the stories the product tells, attacks included
//	cmd               strongroom (people, servers), strongroom-agent (inside), strongroom-sql (the engine inside)
//
// # Words
//
// From RFC 9334: Attester (the room), Evidence, Endorsement (what a vendor signs), Reference
// Value (what we expect), Verifier, Appraisal Policy, Attestation Result, Relying Party (a
// broker, a client). Ours:
//
//   - agreement: what the parties signed; named by the digest of its canonical form
//   - party: who signs; described by a signed descriptor
//   - room: agent, engine and data inside one protected machine, for one run
//   - agent: the program inside that holds the room's keys
//   - host: the machine's operator, outside, untrusted
//   - broker: a party's own key service
//   - input, output, work: data that comes in, results that go out, what runs
//   - release: a key leaving a broker; grant and refusal: the decisions before it
//   - lease: how long a released key may be used without word from its broker
//   - receipt: proof that an event is in a ledger; checkpoint: a ledger's signed head
//   - protection class: confidential, integrity-only or software: whom the machine keeps out
//
// Nothing is promised to importers before version 1; the signed formats in spec/ are.
package strongroom
