// Runs before anything is painted: the theme that somebody chose here; else the system's, by the style sheet alone.
try {
  const theme = localStorage.getItem('theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch { /* a browser that keeps nothing follows the system */ }
