package tilelog

import "strongroom.dev/ledger"

const (
	// tileHeight and tileWidth are those of C2SP tlog-tiles: 256 hashes a tile.
	tileHeight = 8
	tileWidth  = 1 << tileHeight
	// maxLevel is the highest level a tile can have below ledger.MaxSize entries.
	maxLevel = 53 / tileHeight
	// maxBatchEntries and maxBatchBytes bound what one fsync makes durable: enough that the
	// fsync is a small part of the work, little enough that nobody waits long for others.
	maxBatchEntries = 1024
	maxBatchBytes   = 4 << 20
	// maxBundle is the largest entry bundle: 256 entries with their two-byte lengths.
	maxBundle = tileWidth * (2 + ledger.MaxEntry)
	// maxJournal bounds the journal that is read back: the entries of one unfinished bundle
	// and of the last batch, in as many frames as there are entries.
	maxJournal = maxBundle + maxBatchBytes + 2*ledger.MaxEntry + (tileWidth+maxBatchEntries)*frameOverhead + 4096
)
