/* A worker: the child process that runs stages, one task at a time, away from everything it could harm. It is started by
 * engine/workers.c with its end of a frame pair as descriptor CHILD_SOCKET and told everything by frames:
 *
 *   init     ← {"frame":"init","stages":[name…],"engine":"auto"|"onnx"|"tesseract","catalogue":path,"model":path,"keys":path,"library":path,
 *              "tessdata":path,"scratch":path,"hidden":path,"hidden_too":path,"image_bytes_max":n,"image_pixels_max":n,"lock":"exec" = its stages start programs,"path":PATH,"home":HOME,"files":[which of catalogue, model, keys come as descriptors, in order]}
 *   ready    → {"frame":"ready","seconds":s,"loaded":{stage:{…what it says of itself}…},"lock":{"network":b,"files":b,"calls":b = which walls stand}}, or {"frame":"ready","error":sentence} and the end
 *   task     ← {"frame":"task","job":n,"item":n,"attempt":n,"leg":n,"stages":[name or stage object…],"name":text,"type":text,"input":is there one,"variables":bytes of
 *              them}, body: variables, then the input value; descriptors: the input if there is one, then the output
 *   learn    ← {"frame":"learn","stages":[stage object…]}: tasks like this may come. Their programs are compiled, a stage at a time, while there is nothing else to do; LIMIT_LESSONS
 *              such frames are kept, more are dropped, and nothing is answered
 *   hint     → {"frame":"hint","percent":n,"status":text}
 *   outcome  → {"frame":"outcome","item":n,"attempt":n,"verdict":"done"|"retry"|"fail","output":bytes in the output, 0 = the value is the body,
 *              "stats":{…},"score":n,"hit":true,"error":sentence,"error_type":text,"fail_job":true,"stage":name,"last":true = replace me,"compiled":n = programs that it had to compile first}, body: value
 *
 * The stages of a task run one after another, the value of one being the input of the next: worker/leg.h says what a stage object may hold. Between ready and the end the worker opens nothing:
 * it reads the descriptors that come with its task, and locks itself accordingly (worker/lockdown.h). */
#pragma once

/* The whole life of the process: answers its exit status. 0 the parent let it go or is gone, 1 it could not load or was told nonsense,
 * 2 it was not started by rivulet. */
int worker_main(void);
