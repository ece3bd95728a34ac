package predict

import "testing"

// KnowStub makes a stub known for a test, with the rules of systemd's.
func KnowStub(t testing.TB, image []byte) {
	t.Helper()
	id, err := StubDigest(image)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range stubs {
		stubs[id] = stub{"of a test", s.measured}
		break
	}
	t.Cleanup(func() { delete(stubs, id) })
}

// HandOff makes a hand-off block for memory that is taken as OVMF takes it.
func HandOff(memory uint64) ([]byte, error) {
	return handOffBlock([]tdxSection{
		{kind: tdxTemporary, address: 0x810000, size: 0x10000}, {kind: tdxTemporary, address: 0x80b000, size: 0x2000},
		{kind: tdxHandOff, address: 0x809000, size: 0x2000}, {kind: tdxTemporary, address: 0x800000, size: 0x6000},
	}, memory)
}

// Variables are what is measured of Secure Boot without keys.
func Variables() [][]byte { return noSecureBoot(nil) }

// Menu is what is measured of the firmware's own menu.
func Menu() []byte { return uiApp() }
