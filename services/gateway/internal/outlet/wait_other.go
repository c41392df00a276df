//go:build !linux

package outlet

// WaitReadable leaves the waiting to the read that follows.
func (o *Outlet) WaitReadable() {}
