"""Learning a critic while it steers the frozen policy."""
