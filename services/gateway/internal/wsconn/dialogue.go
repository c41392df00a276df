package wsconn

// Dialogue is what is spoken over the connection; nil before Start, and once there is a reason to end.
func (c *Conn) Dialogue() Dialogue {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reason != nil {
		return nil
	}
	return c.dialogue
}
