package volume

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
)

// Keeper does what a room asks of its volumes. Place is the directory that it mounts in.
type Keeper struct {
	Place string
	held  map[int]*held
}

// held is a volume that was opened.
type held struct {
	key     *keys.Secret
	dir     string // of the host's making, encrypted
	mounted string
	encrypt bool
	id      identifier
	rooting *rooting // nil: nobody asked for the root
}

// Do answers a request: [sandbox.Task].
func (k *Keeper) Do(request []byte, files []*os.File) ([]byte, *os.File) {
	var a Answer
	var file *os.File
	var r Request
	err := json.Unmarshal(request, &r)
	clear(request)
	if err == nil {
		a, file, err = k.do(r, files)
		clear(r.Key)
	}
	if err != nil {
		a = Answer{Error: verdict.Encode(err)}
	}
	out, err := json.Marshal(a)
	if err != nil { // strings and numbers only: can't happen
		return []byte(`{"error":{}}`), nil
	}
	return out, file
}

func (k *Keeper) do(r Request, files []*os.File) (a Answer, file *os.File, err error) {
	if r.Step == Open {
		a, err = k.open(r, files)
		return a, nil, err
	}
	h := k.held[r.Volume]
	if h == nil {
		return a, nil, verdict.Misuse("volume.step", "a volume that was opened", "none", "a defect in the agent: report it")
	}
	switch r.Step {
	case Root:
		a, err = h.root(r.Bytes)
		return a, nil, err
	case Mark:
		return a, nil, h.mark(r)
	case Attach:
		file, err = h.attach()
		return a, file, err
	case Forget:
		delete(k.held, r.Volume)
		return a, nil, h.forget()
	}
	return a, nil, verdict.Misuse("volume.step", "a step", string(r.Step), "a defect in the agent: report it")
}

// open takes the file system, and unlocks what is in it.
func (k *Keeper) open(r Request, files []*os.File) (a Answer, err error) {
	if len(files) != 1 || k.held[r.Volume] != nil {
		return a, verdict.Misuse("volume.step", "one file system for a volume that was not opened", "another number", "a defect in the agent: report it")
	}
	h := &held{encrypt: r.Encrypt, mounted: filepath.Join(k.Place, fmt.Sprint(r.Volume))}
	h.dir = filepath.Join(h.mounted, Directory)
	if h.key, err = keys.NewSecret(r.Key); err != nil {
		return a, err
	}
	if err := os.Mkdir(h.mounted, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return a, broken("a place for it", err)
	}
	if err := unix.MoveMount(int(files[0].Fd()), "", unix.AT_FDCWD, h.mounted, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return a, refuse("volume.disk", "a detached mount of a file system", err.Error(), "the host hands one over: see spec/container.md, section 5")
	}
	if a, err = h.look(); err != nil {
		h.forget() // what is wrong was said
		return Answer{}, err
	}
	if k.held == nil {
		k.held = map[int]*held{}
	}
	k.held[r.Volume] = h
	return a, nil
}

// look unlocks the directory and reads what it says.
func (h *held) look() (a Answer, err error) {
	if info, err := os.Lstat(h.dir); err != nil || !info.IsDir() {
		return a, refuse("volume.disk", "a directory "+Directory+" in the file system", "none", "the host makes it when it makes the file system")
	}
	if h.encrypt {
		if err := h.unlock(); err != nil {
			return a, err
		}
	}
	if a.Empty, err = h.empty(); err != nil {
		return a, err
	}
	data, err := readBounded(filepath.Join(h.dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	if err != nil {
		return a, err
	}
	a.Generation, err = readState(h.key, data)
	return a, err
}

// empty reports whether there is no content.
func (h *held) empty() (bool, error) {
	list, err := os.ReadDir(filepath.Join(h.dir, content))
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, broken("reading its content", err)
	}
	return len(list) == 0, nil
}

// readBounded reads a file that the host may have put anything in the place of.
func readBounded(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxState {
		return nil, verdict.NotGenuine("volume.state", "the state of a volume", "something else", "put the right disk back")
	}
	data := make([]byte, info.Size())
	_, err = f.ReadAt(data, 0)
	if err != nil && len(data) > 0 {
		return nil, broken("reading its state", err)
	}
	return data, nil
}

// mark writes the generation, in a new file put in the old one's place, and makes the
// content's directory if there is none. All of it is on the disk when it returns.
func (h *held) mark(r Request) error {
	data, err := newState(h.key, r.Generation)
	if err != nil {
		return err
	}
	inside := filepath.Join(h.dir, content)
	if _, err := os.Lstat(inside); errors.Is(err, fs.ErrNotExist) {
		if err := errors.Join(unix.Mkdir(inside, 0o700), unix.Fchownat(unix.AT_FDCWD, inside, r.UID, r.GID, unix.AT_SYMLINK_NOFOLLOW), unix.Chmod(inside, r.Mode)); err != nil {
			return broken("making its content's directory", err)
		}
	}
	next := filepath.Join(h.dir, stateFile+".new")
	os.Remove(next) // of a room that was ended here
	if err := os.WriteFile(next, data, 0o600); err != nil {
		return broken("writing its state", err)
	}
	if err := h.sync(); err != nil {
		return err
	}
	if err := os.Rename(next, filepath.Join(h.dir, stateFile)); err != nil {
		return broken("writing its state", err)
	}
	return h.sync()
}

func (h *held) sync() error {
	dir, err := os.Open(h.dir)
	if err != nil {
		return broken("writing it out", err)
	}
	defer dir.Close()
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return broken("writing it out", err)
	}
	return nil
}

// attach gives a detached mount of the content, for a cell.
func (h *held) attach() (*os.File, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, filepath.Join(h.dir, content), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return nil, broken("mounting its content", err)
	}
	return os.NewFile(uintptr(fd), "content"), nil
}

// forget takes the key away and lets go of the file system.
func (h *held) forget() error {
	h.halt()
	var err error
	if h.encrypt {
		err = h.lock()
	}
	if uerr := unix.Unmount(h.mounted, unix.MNT_DETACH); uerr != nil {
		err = errors.Join(err, broken("letting go", uerr))
	}
	h.key = nil
	return err
}
