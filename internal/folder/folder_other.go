//go:build !linux

package folder

import "os"

// Folder is a process's private folder. The zero Folder is none.
type Folder struct{ path string }

// Path is where the folder is.
func (f *Folder) Path() string { return f.path }

// New makes a folder, as on Linux, and sweeps nothing.
func New(parent, prefix string) (*Folder, error) {
	path, err := os.MkdirTemp(parent, prefix)
	if err != nil {
		return nil, err
	}
	return &Folder{path}, nil
}

// Keep leaves the folder to people.
func (f *Folder) Keep() error { return nil }

// Remove removes the folder with all that it holds.
func (f *Folder) Remove() error { return os.RemoveAll(f.path) }
